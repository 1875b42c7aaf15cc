import type { ObjectOf } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { captureOf, enrollmentOf } from "../membership/capture.ts";
import { passedBy } from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type Service, selectsWorkload } from "../membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import {
  acceptsPlaintext,
  atPort,
  mtlsOf,
  type NamespaceMtls,
  type peerAuthenticationsOfNamespace,
  planesOfNamespace,
} from "./effective-mtls.ts";
import { namespaceByName } from "../objects/indexes.ts";

export type AdmissionWebhook = ObjectOf<"AdmissionWebhook">;

/** A Service that the API server calls. */
export interface ServiceCalled {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

/** The called Services, each once; the default port is 443. Webhooks with a URL call no Service. */
export function servicesCalled({ webhooks, spec }: AdmissionWebhook): readonly ServiceCalled[] {
  const found = [
    ...webhooks.map(({ clientConfig }) => clientConfig?.service),
    spec.service,
    spec.conversion?.webhook?.clientConfig?.service,
  ].flatMap((service) => (service === undefined ? [] : [{ ...service, port: service.port ?? 443 }]));
  return [...new Map(found.map((one) => [`${one.namespace}/${one.name}:${one.port}`, one])).values()];
}

/** A namespace and the objects that make the API server call a Service in it. */
export const webhooksOfNamespace = relation(
  "webhooksOfNamespace",
  namespaceByName,
  index("AdmissionWebhook", (webhook) => servicesCalled(webhook).map(({ namespace }) => namespace)),
);

/**
 * Whether calls of the API server, which is outside the mesh and has no mesh certificate, are refused, because the data
 * plane of the pods requires mTLS at the port. If the pods are not known, the mode of the namespace decides.
 */
export function refusesApiServer(
  called: ServiceCalled,
  service: Service | undefined,
  namespace: Namespace,
  mesh: MeshView<typeof peerAuthenticationsOfNamespace | typeof workloadsOfNamespace>,
): boolean {
  const mtls = mtlsOf(namespace, mesh);
  const pods = service === undefined ? [] : podsOf(service, mesh.related(workloadsOfNamespace, namespace));
  if (pods.length > 0) return pods.some((pod) => refuses(pod, portOf(called, service, pod), { namespace, mtls }));
  if (mesh.knowsAll("Workload")) return false;
  const { planes, isCertain } = planesOfNamespace(namespace);
  return (
    isCertain && enrollmentOf(namespace) !== "none" && planes.every((plane) => !acceptsPlaintext(mtls.wide(plane)))
  );
}

const podsOf = (service: Service, workloads: readonly Workload[]): readonly Workload[] =>
  workloads.filter((workload) => !isProxy(workload) && selectsWorkload(service, workload));

function portOf({ port }: ServiceCalled, service: Service | undefined, { pod }: Workload): number {
  const target = service?.spec.ports.find((one) => one.port === port)?.targetPort ?? port;
  if (typeof target === "number") return target === 0 ? port : target;
  return pod.ports.find(({ name }) => name === target)?.number ?? port;
}

function refuses(
  workload: Workload,
  port: number,
  { namespace, mtls }: { readonly namespace: Namespace; readonly mtls: NamespaceMtls },
): boolean {
  const { pod } = workload;
  const capture = captureOf(workload, namespace);
  if (capture !== "sidecar" && capture !== "ambient") return false;
  if (passedBy(workload, namespace, port) !== undefined) return false;
  return !acceptsPlaintext(atPort(mtls.of(pod.labels, capture), port));
}
