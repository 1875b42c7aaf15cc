import type { ObjectOf } from "../../kube/object.ts";
import { index, type Mesh, relation } from "../../view/view.ts";
import { kubernetesGatewayByName, namespaceByName } from "../objects/indexes.ts";
import {
  dataplaneMode,
  gatewayApiGroup,
  gatewayNameLabel,
  gatewayServiceAccount,
  managedGateway,
  waypointClass,
} from "../objects/labels.ts";
import { keyFor } from "../../kube/identity.ts";
import { isOfGateway, owningGateway, type Workload } from "./workloads.ts";

export type KubernetesGateway = ObjectOf<"KubernetesGateway">;

/** A namespace and its Gateways of Istio's classes: waypoints and ingress gateways. */
export const gatewaysOfNamespace = relation(
  "gatewaysOfNamespace",
  namespaceByName,
  index("KubernetesGateway", (gateway) => (isIstiosWaypointOrGateway(gateway) ? [gateway.metadata.namespace] : [])),
);

/**
 * Istio's own classes that are not for waypoints. istiod would bind to any Gateway with an address, and classes of other
 * vendors can be waypoints.
 */
export const ingressClasses: ReadonlySet<string> = new Set(["istio", "istio-remote", "istio-east-west"]);
export const isForIngress = ({ spec }: KubernetesGateway): boolean => ingressClasses.has(spec.gatewayClassName);

/** Whether a Gateway has one of the classes that istiod creates. Which controller another class belongs to is not known here. */
export const hasClassOfIstio = (gateway: KubernetesGateway): boolean =>
  isForIngress(gateway) || gateway.spec.gatewayClassName === waypointClass;

/**
 * Whether istiod's controllers for gateways and for waypoints have the class of a Gateway. Those of its classes for remote networks and
 * east-west gateways are others (Istio pilot/pkg/config/kube/gatewaycommon/classinfo.go GetBuiltinGatewayClasses).
 */
export const isIstiosWaypointOrGateway = ({ spec }: KubernetesGateway): boolean =>
  spec.gatewayClassName === waypointClass || spec.gatewayClassName === "istio";

/**
 * Whether somebody else deploys the proxies of a Gateway: its addresses name a Service (Istio
 * pilot/pkg/config/kube/gatewaycommon/gateway_utils.go IsManaged).
 */
export function isDeployedByHand({ spec: { addresses } }: KubernetesGateway): boolean {
  const [only, another] = addresses;
  if (only === undefined) return false;
  return another !== undefined || (only.type !== undefined && only.type !== "IPAddress");
}

/** A workload that looks like the proxy of a Gateway, and that Gateway. */
export const gatewayOfProxy = relation(
  "gatewayOfProxy",
  index("Workload", (workload) => {
    const owner = isOfGateway(workload) ? owningGateway(workload) : undefined;
    return owner === undefined ? [] : [`${workload.metadata.namespace}/${owner.name}`];
  }),
  kubernetesGatewayByName,
);

/** Istio annotation.GatewayNameOverride. */
export const nameOverride = "gateway.istio.io/name-override";

/**
 * The service account of the Deployment that istiod creates for a Gateway (Istio
 * pilot/pkg/config/kube/gateway/gateway_collection.go, gatewaycommon/gateway_utils.go GetDefaultName). The classes for
 * waypoints and east-west gateways get no suffix (classinfo.go DisableNameSuffix).
 */
export const serviceAccountOf = (gateway: KubernetesGateway): string =>
  gateway.metadata.annotations[gatewayServiceAccount] || defaultNameOf(gateway);

function defaultNameOf({ metadata: { name }, spec: { gatewayClassName } }: KubernetesGateway): string {
  return withoutSuffix.has(gatewayClassName) ? name : `${name}-${gatewayClassName}`;
}
const withoutSuffix: ReadonlySet<string> = new Set([waypointClass, "istio-east-west"]);

/**
 * The names that the Service may have which istiod creates for a Gateway beside the Deployment, if it is in no file (Istio
 * pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway,
 * manifests/charts/istio-control/istio-discovery/files/kube-gateway.yaml, waypoint.yaml). Which controller a class that is not Istio's
 * belongs to is not known here, so it may be that of ingress gateways, of waypoints, or another one, which often do the same.
 */
export function namesOfGeneratedService(gateway: KubernetesGateway): readonly string[] {
  if (gateway.spec.gatewayClassName === "istio-remote" || isDeployedByHand(gateway)) return [];
  const { name, annotations } = gateway.metadata;
  const chosen = annotations[nameOverride];
  if (chosen) return [chosen];
  return hasClassOfIstio(gateway) ? [defaultNameOf(gateway)] : [defaultNameOf(gateway), name];
}

/**
 * Whether istiod could have created this workload for the Gateway: it is the one that the workload names, and would have
 * this name (Istio pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway). The class
 * `istio-remote` has no template, so istiod creates nothing for it.
 */
export function isProxyOf(workload: Workload, gateway: KubernetesGateway): boolean {
  const { name, uid, annotations } = gateway.metadata;
  const owner = owningGateway(workload);
  if (owner?.name !== name || gateway.spec.gatewayClassName === "istio-remote") return false;
  if (owner.uid !== undefined && uid !== undefined && owner.uid !== uid) return false;
  return [name, `${name}-${gateway.spec.gatewayClassName}`, annotations[nameOverride]].includes(workload.metadata.name);
}

/** Whether istiod runs this workload for a Gateway that exists. If not all Gateways are known, the owner is believed. */
export function isRunForGateway(workload: Workload, mesh: Mesh): boolean {
  const owner = isOfGateway(workload) ? owningGateway(workload) : undefined;
  if (owner === undefined) return false;
  const { namespace } = workload.metadata;
  const key = keyFor("KubernetesGateway", { originKind: "Gateway", namespace, name: owner.name });
  const gateway = mesh.find("KubernetesGateway", key);
  if (gateway?.kind !== "KubernetesGateway") return !mesh.knowsAll("KubernetesGateway");
  return isProxyOf(workload, gateway);
}

/**
 * The labels that istiod gives the pods of a waypoint or an ingress gateway, by which a DestinationRule selects it as a client, or a
 * policy: those of the Gateway itself, or those that it sets for its infrastructure, and some for the Gateway (Istio
 * manifests/charts/istio-control/istio-discovery/files/waypoint.yaml, kube-gateway.yaml,
 * pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go extractInfrastructureLabels).
 */
export function labelsOfGatewayPods(gateway: KubernetesGateway): Readonly<Record<string, string>> {
  const { metadata, spec } = gateway;
  // What somebody else writes is not known.
  if (isDeployedByHand(gateway)) return { [gatewayNameLabel]: metadata.name };
  const set = spec.infrastructure?.labels;
  const copied = Object.entries(set ?? metadata.labels).filter(
    ([key]) => set === undefined || !key.startsWith(`${gatewayApiGroup}/`),
  );
  return {
    "sidecar.istio.io/inject": "false",
    [dataplaneMode]: "none",
    "service.istio.io/canonical-name": metadata.annotations[nameOverride] ?? metadata.name,
    "service.istio.io/canonical-revision": "latest",
    ...Object.fromEntries(copied),
    [gatewayNameLabel]: metadata.name,
    [`${gatewayApiGroup}/gateway-class-name`]: spec.gatewayClassName,
    [managedGateway]: controllerLabels.get(spec.gatewayClassName) ?? "istio.io-gateway-controller",
  };
}
/** Classinfo.go ControllerLabel. */
const controllerLabels: ReadonlyMap<string, string> = new Map([
  [waypointClass, "istio.io-mesh-controller"],
  ["istio-east-west", "istio.io-eastwest-controller"],
]);
