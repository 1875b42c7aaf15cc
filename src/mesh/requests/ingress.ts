import { index, type MeshView } from "../../view/view.ts";
import { idOf } from "../../kube/identity.ts";
import {
  isForIngress,
  isProxyOf,
  type KubernetesGateway,
  labelsOfGatewayPods,
  serviceAccountOf,
} from "../membership/gateways.ts";
import { isOfGateway, isProxy, namespaceOfWorkload, owningGateway, type Workload } from "../membership/workloads.ts";
import { namespaceOfWaypoint } from "./enforcement.ts";
import type { GatewayProxy } from "./question.ts";

/** Stands for all ingress gateways, of every namespace. */
export const everyIngress = "*";

/**
 * Workloads that run only a proxy of Istio as a gateway, under `*`, their namespace, and `namespace/name`: what the injector or
 * istiod configures as a gateway, and the gateways that istioctl installs. Waypoints are none.
 */
export const ingressWorkloads = index("Workload", (workload) => {
  const { metadata } = workload;
  if (!isGatewayProxy(workload)) return [];
  const names = new Set([metadata.name, owningGateway(workload)?.name ?? metadata.name]);
  return [everyIngress, metadata.namespace, ...[...names].map((name) => `${metadata.namespace}/${name}`)];
});

/** Whether a workload runs only a proxy of Istio, as a gateway and not as a waypoint. */
export const isGatewayProxy = (workload: Workload): boolean =>
  (isProxy(workload) || (workload.pod.hasProxyContainer && !workload.pod.hasOtherContainers)) && !isWaypoint(workload);

/** istiod labels the pods that it creates for waypoints (Istio manifests/charts/istio-control/istio-discovery/files/waypoint.yaml). */
const isWaypoint = (workload: Workload): boolean =>
  isOfGateway(workload) && workload.metadata.labels[managed] === "istio.io-mesh-controller";
const managed = "gateway.istio.io/managed";

/** The same for Gateways of the Gateway API, whose workload may not be known. */
export const ingressGateways = index("KubernetesGateway", (gateway, settings) => {
  const { namespace, name } = gateway.metadata;
  return isForIngress(gateway, settings) ? [everyIngress, namespace, `${namespace}/${name}`] : [];
});

/** What `proxiesOf` reads. */
export const ingressReads = [namespaceOfWorkload, namespaceOfWaypoint] as const;

/** The proxies of these gateways, each once, sorted by name, so that the order of objects makes no difference. */
export function proxiesOf(
  workloads: readonly Workload[],
  gateways: readonly KubernetesGateway[],
  mesh: MeshView<(typeof ingressReads)[number]>,
): readonly GatewayProxy[] {
  const found: GatewayProxy[] = [];
  for (const workload of workloads) {
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (namespace === undefined) continue;
    const { serviceAccountName: serviceAccount, labels } = workload.pod;
    found.push({ name: idOf(workload), namespace, serviceAccount, labels, workload });
  }
  for (const gateway of gateways) {
    const [namespace] = mesh.related(namespaceOfWaypoint, gateway);
    if (namespace === undefined || workloads.some((workload) => isProxyOf(workload, gateway, mesh.settings))) continue;
    const serviceAccount = serviceAccountOf(gateway, mesh.settings);
    found.push({
      name: idOf(gateway),
      namespace,
      serviceAccount,
      labels: labelsOfGatewayPods(gateway, mesh.settings),
      workload: undefined,
    });
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
}
