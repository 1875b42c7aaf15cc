import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type Mesh, relation } from "../../view/view.ts";
import { kubernetesGatewayByName, namespaceByName } from "../objects/indexes.ts";
import {
  dataplaneMode,
  gatewayApiGroup,
  gatewayNameLabel,
  gatewayServiceAccount,
  inboundBinding,
  managedGateway,
  waypointClass,
  waypointFor,
} from "../objects/labels.ts";
import { keyFor } from "../../kube/identity.ts";
import { isOfGateway, owningGateway, type Workload } from "./workloads.ts";

export type KubernetesGateway = ObjectOf<"KubernetesGateway">;

/** A namespace and its Gateways of Istio's classes: waypoints and ingress gateways. */
export const gatewaysOfNamespace = relation(
  "gatewaysOfNamespace",
  namespaceByName,
  index("KubernetesGateway", (gateway, settings) =>
    isIstiosWaypointOrGateway(gateway, settings) ? [gateway.metadata.namespace] : [],
  ),
);

/** What tells whose a class is. */
type Classes = Pick<MeshSettings, "gatewayClasses">;

/** istiod's controllers of Gateways (Istio pkg/config/constants/constants.go). */
const istiosControllers = [
  "istio.io/gateway-controller",
  "istio.io/mesh-controller",
  "istio.io/unmanaged-gateway",
  "istio.io/eastwest-controller",
] as const;
type IstiosController = (typeof istiosControllers)[number];
const isIstios = (controller: string | undefined): controller is IstiosController =>
  (istiosControllers as readonly (string | undefined)[]).includes(controller);

/** The classes of istiod, which count without a GatewayClass too (Istio pilot/pkg/config/kube/gatewaycommon/classinfo.go GetBuiltinGatewayClasses). */
const istiosClasses: ReadonlyMap<string, IstiosController> = new Map([
  ["istio", "istio.io/gateway-controller"],
  [waypointClass, "istio.io/mesh-controller"],
  ["istio-remote", "istio.io/unmanaged-gateway"],
  ["istio-east-west", "istio.io/eastwest-controller"],
]);

/** What the GatewayClass of a Gateway says; undefined: no such object is known. */
const classOf = ({ spec: { gatewayClassName } }: KubernetesGateway, { gatewayClasses }: Classes) =>
  Object.hasOwn(gatewayClasses, gatewayClassName) ? gatewayClasses[gatewayClassName] : undefined;

/** The controller that the GatewayClass of a Gateway names. */
const namedController = (gateway: KubernetesGateway, classes: Classes) => classOf(gateway, classes)?.controller;

/**
 * Which of istiod's controllers has the class of a Gateway; undefined: none, or it is not known. The GatewayClass says it. Without one, and
 * with one of another controller, istiod still takes the classes that it knows by name for its own (Istio
 * pilot/pkg/config/kube/gatewaycommon/gatewayclass_collection.go FetchGatewayClass).
 */
export function gatewayControllerOf(gateway: KubernetesGateway, classes: Classes): IstiosController | undefined {
  const named = namedController(gateway, classes);
  return isIstios(named) ? named : istiosClasses.get(gateway.spec.gatewayClassName);
}

/** The requests that a waypoint processes: by its own label, by that of its class, else those to Services (gatewayToWaypointTransform). */
export const waypointTraffic = (gateway: KubernetesGateway, classes: Classes): string =>
  gateway.metadata.labels[waypointFor] ?? classOf(gateway, classes)?.waypointFor ?? "service";

/** How the proxies of a waypoint take requests, by its own annotation or that of its class (getGatewayOrGatewayClassAnnotation). */
export const inboundBindingOf = (gateway: KubernetesGateway, classes: Classes): string | undefined =>
  gateway.metadata.annotations[inboundBinding] ?? classOf(gateway, classes)?.inboundBinding;

/** Whether classes that are known before and after a change say the same of a Gateway. */
export const isClassedAlike = (gateway: KubernetesGateway, [before, after]: readonly [Classes, Classes]): boolean =>
  [gatewayControllerOf, waypointTraffic, inboundBindingOf].every(
    (said) => said(gateway, before) === said(gateway, after),
  );

/** Whether a GatewayClass says that a Gateway is not Istio's. Without one it is not known, nor which optional controllers istiod has. */
export function isOfAnotherController(gateway: KubernetesGateway, classes: Classes): boolean {
  const named = gatewayControllerOf(gateway, classes) === undefined ? namedController(gateway, classes) : undefined;
  return named !== undefined && !named.startsWith("istio.io/");
}

/** Whether it is not known whose a Gateway is: its class is none that istiod knows by name, and no GatewayClass of that name is known. */
export const isOfUnknownController = (gateway: KubernetesGateway, classes: Classes): boolean =>
  !hasClassOfIstio(gateway, classes) && !isOfAnotherController(gateway, classes);

/** Whether istiod deploys the proxy of a Gateway as a waypoint, and makes no routes of its listeners. */
export const isIstiosWaypoint = (gateway: KubernetesGateway, classes: Classes): boolean =>
  gatewayControllerOf(gateway, classes) === "istio.io/mesh-controller";

/** Whether a Gateway is an ingress gateway of istiod, not one for other networks. */
export const isIstiosIngress = (gateway: KubernetesGateway, classes: Classes): boolean =>
  gatewayControllerOf(gateway, classes) === "istio.io/gateway-controller";

export const isRemote = (gateway: KubernetesGateway, classes: Classes): boolean =>
  gatewayControllerOf(gateway, classes) === "istio.io/unmanaged-gateway";
export const isEastWest = (gateway: KubernetesGateway, classes: Classes): boolean =>
  gatewayControllerOf(gateway, classes) === "istio.io/eastwest-controller";

/**
 * The names of Istio's own classes that are not for waypoints. istiod would bind to any Gateway with an address, and classes of other
 * vendors can be waypoints.
 */
export const ingressClasses: ReadonlySet<string> = new Set(["istio", "istio-remote", "istio-east-west"]);

/** Whether a Gateway is one of Istio's that is not for waypoints. */
export const isForIngress = (gateway: KubernetesGateway, classes: Classes): boolean =>
  hasClassOfIstio(gateway, classes) && !isIstiosWaypoint(gateway, classes);

/** Whether one of istiod's controllers has the class of a Gateway, as far as is known. */
export const hasClassOfIstio = (gateway: KubernetesGateway, classes: Classes): boolean =>
  gatewayControllerOf(gateway, classes) !== undefined;

/** Whether istiod's controllers for gateways and for waypoints have the class of a Gateway, and not those for other networks. */
export const isIstiosWaypointOrGateway = (gateway: KubernetesGateway, classes: Classes): boolean =>
  isIstiosWaypoint(gateway, classes) || isIstiosIngress(gateway, classes);

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
export const serviceAccountOf = (gateway: KubernetesGateway, classes: Classes): string =>
  gateway.metadata.annotations[gatewayServiceAccount] || defaultNameOf(gateway, classes);

function defaultNameOf(gateway: KubernetesGateway, classes: Classes): string {
  const isPlain = isIstiosWaypoint(gateway, classes) || isEastWest(gateway, classes);
  return isPlain ? gateway.metadata.name : `${gateway.metadata.name}-${gateway.spec.gatewayClassName}`;
}

/**
 * The names that the Service may have which istiod creates for a Gateway beside the Deployment, if it is in no file (Istio
 * pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway,
 * manifests/charts/istio-control/istio-discovery/files/kube-gateway.yaml, waypoint.yaml). A class that is not
 * known to be Istio's may be that of ingress gateways, of waypoints, or another one, which often do the same.
 */
export function namesOfGeneratedService(gateway: KubernetesGateway, classes: Classes): readonly string[] {
  if (isRemote(gateway, classes) || isDeployedByHand(gateway)) return [];
  const { name, annotations } = gateway.metadata;
  const chosen = annotations[nameOverride];
  if (chosen) return [chosen];
  const byDefault = defaultNameOf(gateway, classes);
  return hasClassOfIstio(gateway, classes) ? [byDefault] : [byDefault, name];
}

/**
 * Whether istiod could have created this workload for the Gateway: it is the one that the workload names, and would have
 * this name (Istio pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go configureIstioGateway). Classes like
 * `istio-remote` have no template, so istiod creates nothing for them.
 */
export function isProxyOf(workload: Workload, gateway: KubernetesGateway, classes: Classes): boolean {
  const { name, uid, annotations } = gateway.metadata;
  const owner = owningGateway(workload);
  if (owner?.name !== name || isRemote(gateway, classes)) return false;
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
  return isProxyOf(workload, gateway, mesh.settings);
}

/**
 * The labels that istiod gives the pods of a waypoint or an ingress gateway, by which a DestinationRule selects it as a client, or a
 * policy: those of the Gateway itself, or those that it sets for its infrastructure, and some for the Gateway (Istio
 * manifests/charts/istio-control/istio-discovery/files/waypoint.yaml, kube-gateway.yaml,
 * pilot/pkg/config/kube/gatewaycommon/deploymentcontroller.go extractInfrastructureLabels).
 */
export function labelsOfGatewayPods(gateway: KubernetesGateway, classes: Classes): Readonly<Record<string, string>> {
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
    [managedGateway]: controllerLabels.get(gatewayControllerOf(gateway, classes)) ?? "istio.io-gateway-controller",
  };
}
/** Classinfo.go ControllerLabel. */
const controllerLabels: ReadonlyMap<IstiosController | undefined, string> = new Map([
  ["istio.io/mesh-controller", "istio.io-mesh-controller"],
  ["istio.io/eastwest-controller", "istio.io-eastwest-controller"],
]);
