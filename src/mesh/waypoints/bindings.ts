import type { Labels, ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { isTrueText } from "../objects/parse-bool.ts";
import {
  isForIngress,
  isIstiosWaypoint,
  isOfUnknownController,
  type KubernetesGateway,
  waypointTraffic,
} from "../membership/gateways.ts";
import { isExternalName, isHeadless, type Service } from "../membership/services.ts";
import { labelsOfWorkloadEntry } from "../membership/workload-entries.ts";
import { kubernetesGatewayByName, namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { hasAddress } from "../traffic/service-entry-hosts.ts";
import {
  gatewayNameLabel,
  gatewayServiceAccount,
  ingressUseWaypoint,
  managedGateway,
  useWaypoint,
  useWaypointNamespace,
} from "../objects/labels.ts";
import { isAttachable } from "./admitted-namespaces.ts";

/** The waypoint that labels name, whether or not it exists. */
export interface WaypointName {
  readonly name: string;
  readonly namespace: string;
}

/**
 * The waypoint in the labels of an object: its name, `none`, or undefined without a label. The default for its namespace
 * is the namespace of the object (Istio pilot/pkg/serviceregistry/ambient/waypoints.go GetUseWaypoint).
 */
export function waypointNamed(labels: Labels, namespace: string): WaypointName | "none" | undefined {
  const name = labels[useWaypoint];
  if (name === undefined || name === "none") return name;
  return { name, namespace: labels[useWaypointNamespace] ?? namespace };
}

const isNamed = (one: WaypointName, { name, namespace }: WaypointName): boolean =>
  one.name === name && one.namespace === namespace;

export const formatWaypoint = ({ name, namespace }: WaypointName): string => `${namespace}/${name}`;

/** The key of the waypoint that labels name, `namespace/name`. */
export function keysNamed(labels: Labels, namespace: string): readonly string[] {
  const named = waypointNamed(labels, namespace);
  return named === undefined || named === "none" ? [] : [formatWaypoint(named)];
}

/** Namespaces by the waypoint that their labels name, `namespace/name`. */
export const namespacesByWaypoint = index("Namespace", ({ metadata }) => keysNamed(metadata.labels, metadata.name));
/** Services by the waypoint that their own labels name. */
export const servicesByWaypoint = index("Service", ({ metadata }) => keysNamed(metadata.labels, metadata.namespace));
/** A Service that names a waypoint itself, and its namespace. */
export const namespaceOfBoundService = relation(
  "namespaceOfBoundService",
  index("Service", ({ metadata }) =>
    keysNamed(metadata.labels, metadata.namespace).length === 0 ? [] : [metadata.namespace],
  ),
  namespaceByName,
);
/** The waypoint that the pods' labels name, and the Gateway of which they are instances by their label. */
export const workloadsByWaypoint = index("Workload", ({ metadata: { namespace }, pod: { labels } }) =>
  keysNamedByPods(labels, namespace),
);
/** The same of WorkloadEntries, whose labels may be those of the spec. */
export const workloadEntriesByWaypoint = index("WorkloadEntry", (entry) =>
  keysNamedByPods(labelsOfWorkloadEntry(entry), entry.metadata.namespace),
);
function keysNamedByPods(labels: Labels, namespace: string): readonly string[] {
  const gateway = labels[gatewayNameLabel];
  return [...keysNamed(labels, namespace), ...(gateway ? [formatWaypoint({ name: gateway, namespace })] : [])];
}
/** A gateway and its own namespace. */
export const namespaceOfGateway = relation(
  "namespaceOfGateway",
  index("KubernetesGateway", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);
/** A namespace and the gateway that its labels name as a waypoint. */
export const waypointOfNamespace = relation("waypointOfNamespace", namespacesByWaypoint, kubernetesGatewayByName);
/** A Service and the gateway that its own labels name. */
export const waypointOfService = relation("waypointOfService", servicesByWaypoint, kubernetesGatewayByName);
/** A ServiceEntry and the gateway that its own labels name. */
export const waypointOfServiceEntry = relation(
  "waypointOfServiceEntry",
  index("ServiceEntry", ({ metadata }) => keysNamed(metadata.labels, metadata.namespace)),
  kubernetesGatewayByName,
);
/** A WorkloadEntry and the gateways that its own labels name: as its waypoint, and as the one that runs at its address. */
export const waypointOfWorkloadEntry = relation(
  "waypointOfWorkloadEntry",
  workloadEntriesByWaypoint,
  kubernetesGatewayByName,
);
/** A workload and the gateways that its pods' own labels name: as their waypoint, and as the one that runs in them. */
export const waypointOfWorkload = relation("waypointOfWorkload", workloadsByWaypoint, kubernetesGatewayByName);

/** The traffic that a waypoint processes: requests to a Service, or to the address of a pod. */
export type WaypointTraffic = "service" | "workload";

/**
 * Why a named waypoint receives no traffic, so that requests bypass it.
 * - `missing`: there is no such Gateway.
 * - `not a waypoint`: the Gateway is an ingress gateway.
 * - `deleting`: it is being deleted.
 * - `not ready`: it never had a ready pod.
 * - `not allowed`: its listener does not accept this namespace (allowedRoutes).
 * - `other traffic`: it is configured for another type of traffic.
 */
export type WaypointTrouble = "missing" | "not a waypoint" | "deleting" | "not ready" | "not allowed" | "other traffic";

/** A waypoint that labels request for an object. */
export interface WaypointBinding {
  readonly named: WaypointName;
  /** Whether the labels of the object itself or those of its namespace name it. */
  readonly by: "own" | "namespace";
  /** Undefined if it does not exist, or if no gateways are known. */
  readonly gateway: KubernetesGateway | undefined;
  /** Whose it is: a waypoint that istiod deploys, or another controller's; undefined: that is not known. */
  readonly controller: "istiod" | "other" | undefined;
  /** Undefined: nothing is known that makes it unusable. */
  readonly trouble: WaypointTrouble | undefined;
  /** The share of the connections that it gets, above 0, if there is a canary; undefined: all. */
  readonly share?: number;
}

/** The waypoint that the labels of a namespace request for its contents. */
export const waypointBinding = fact(
  "waypointBinding",
  "Namespace",
  [waypointOfNamespace],
  (namespace, mesh): WaypointBinding | undefined => {
    const { name } = namespace.metadata;
    const named = waypointNamed(namespace.metadata.labels, name);
    if (named === undefined || named === "none") return undefined;
    const request = { of: namespace, name, traffic: undefined, mesh };
    return bound(named, "namespace", mesh.related(waypointOfNamespace, namespace), request);
  },
);
export const waypointBindingOfNamespace = (
  namespace: Namespace,
  mesh: MeshView<typeof waypointBinding>,
): WaypointBinding | undefined => mesh.get(waypointBinding, namespace);

/**
 * Whether these labels of a Service say that it is the one of a waypoint or of an east-west gateway, which has no waypoint
 * itself (fetchWaypointForService). Those of ingress gateways can have one.
 */
export const isOfMeshGateway = (labels: Labels): boolean => meshGateways.has(labels[managedGateway] ?? "");
const meshGateways: ReadonlySet<string> = new Set(["istio.io-mesh-controller", "istio.io-eastwest-controller"]);

/**
 * The waypoint for requests to a Service. Its own labels take precedence over those of its namespace, even if the
 * waypoint that they name is not usable (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget,
 * fetchWaypointForService). Waypoints themselves have no waypoint, and a headless Service is never called by an address of its own
 * (ztunnel src/proxy/outbound.rs build_request; Istio pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint). ztunnel and
 * waypoints do not know those with an external name (ambient/services.go serviceServiceBuilder).
 */
export function waypointBindingOfService(
  service: Service,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointBinding | typeof waypointOfService>,
): WaypointBinding | undefined {
  if (isOfMeshGateway(service.metadata.labels) || isHeadless(service) || isExternalName(service)) return undefined;
  const named = waypointNamed(service.metadata.labels, service.metadata.namespace);
  if (named === "none") return undefined;
  const request = { of: namespace, name: service.metadata.namespace, traffic: "service", mesh } as const;
  if (named !== undefined) return bound(named, "own", mesh.related(waypointOfService, service), request);
  return inherited(namespace, mesh, "service");
}

/**
 * The waypoint for requests to the hosts of a ServiceEntry, which Istio finds as that of a Service; none without an address, by which ztunnel
 * would know what is sent there, and the waypoint what arrives (Istio pilot/pkg/networking/core/listener_waypoint.go).
 */
export function waypointBindingOfServiceEntry(
  entry: ObjectOf<"ServiceEntry">,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointBinding | typeof waypointOfServiceEntry>,
): WaypointBinding | undefined {
  if (!isServed(entry, mesh.settings) || isOfMeshGateway(entry.metadata.labels)) return undefined;
  if (isWithoutAddress(entry)) return undefined;
  const named = waypointNamed(entry.metadata.labels, entry.metadata.namespace);
  if (named === "none") return undefined;
  const request = { of: namespace, name: entry.metadata.namespace, traffic: "service", mesh } as const;
  if (named !== undefined) return bound(named, "own", mesh.related(waypointOfServiceEntry, entry), request);
  return inherited(namespace, mesh, "service");
}

/** Whether none of its hosts has one. */
export const isWithoutAddress = (entry: ObjectOf<"ServiceEntry">): boolean =>
  entry.spec.hosts.every((host) => !hasAddress(host, entry));

/** The waypoint for requests to what defines a host. */
export const waypointBindingOfDefinition = (
  definition: Definition,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointBinding | typeof waypointOfService | typeof waypointOfServiceEntry>,
): WaypointBinding | undefined =>
  definition.kind === "Service"
    ? waypointBindingOfService(definition, namespace, mesh)
    : waypointBindingOfServiceEntry(definition, namespace, mesh);

/**
 * The waypoint for requests to a pod's own address (fetchWaypointForWorkload). The waypoint of the namespace is used
 * only if it processes workload traffic; otherwise there is none, which is not an error. Pods with the label of a Gateway
 * that has an address have none either, whatever runs in them (ambient/workloads.go computeWaypoint).
 */
export function waypointBindingOfWorkload(
  workload: Workload,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointBinding | typeof waypointOfWorkload>,
): WaypointBinding | undefined {
  const of = { labels: workload.pod.labels, in: workload.metadata.namespace, namespace };
  return bindingOfPods(of, mesh.related(waypointOfWorkload, workload), mesh);
}

/**
 * The waypoint for requests to the address of a WorkloadEntry, which istiod finds as that of a pod. Labels of the object and of its spec
 * count (Istio pilot/pkg/serviceregistry/ambient/workloads.go workloadEntryWorkloadBuilder).
 */
export function waypointBindingOfWorkloadEntry(
  entry: ObjectOf<"WorkloadEntry">,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointBinding | typeof waypointOfWorkloadEntry>,
): WaypointBinding | undefined {
  if (!isServed(entry, mesh.settings)) return undefined;
  const of = { labels: labelsOfWorkloadEntry(entry), in: entry.metadata.namespace, namespace };
  return bindingOfPods(of, mesh.related(waypointOfWorkloadEntry, entry), mesh);
}

interface Pods {
  readonly labels: Labels;
  /** The name of their namespace, which may not be known. */
  readonly in: string;
  readonly namespace: Namespace | undefined;
}

function bindingOfPods(
  { labels, in: name, namespace }: Pods,
  gateways: readonly KubernetesGateway[],
  mesh: MeshView<typeof waypointBinding>,
): WaypointBinding | undefined {
  const named = waypointNamed(labels, name);
  const gatewayNamed = (one: WaypointName) => gateways.filter(({ metadata }) => isNamed(metadata, one));
  const [instanceOf] = gatewayNamed({ name: labels[gatewayNameLabel] ?? "", namespace: name });
  if (named === "none" || (instanceOf !== undefined && !isNotReady(instanceOf))) return undefined;
  if (named !== undefined)
    return bound(named, "own", gatewayNamed(named), { of: namespace, name, traffic: "workload", mesh });
  const binding = inherited(namespace, mesh, "workload");
  return binding?.trouble === "other traffic" ? undefined : binding;
}

/** The waypoint that the labels of a namespace request for one type of traffic to its contents. */
export function inherited(
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointBinding>,
  traffic: WaypointTraffic,
): WaypointBinding | undefined {
  const binding = namespace && mesh.get(waypointBinding, namespace);
  if (binding?.gateway === undefined || binding.trouble !== undefined) return binding;
  return { ...binding, trouble: takes(binding.gateway, traffic, mesh.settings) ? undefined : "other traffic" };
}

export interface BindingRequest {
  /** The namespace that receives the traffic, if it is known. */
  readonly of: Namespace | undefined;
  readonly name: string;
  readonly traffic: WaypointTraffic | undefined;
  readonly mesh: MeshView;
}

/** What labels request, with what is known of the gateway that they name. */
export function bound(
  named: WaypointName,
  by: WaypointBinding["by"],
  found: readonly KubernetesGateway[],
  request: BindingRequest,
): WaypointBinding {
  const [gateway] = found;
  if (gateway !== undefined)
    return {
      ...{ named, by, gateway },
      controller: controllerFor(gateway, request.mesh.settings),
      trouble: troubleOf(gateway, request),
    };
  const trouble = request.mesh.knows("KubernetesGateway") ? "missing" : undefined;
  return { named, by, gateway, controller: undefined, trouble };
}

function controllerFor(gateway: KubernetesGateway, settings: MeshSettings): WaypointBinding["controller"] {
  if (isIstiosWaypoint(gateway, settings)) return "istiod";
  return isOfUnknownController(gateway, settings) ? undefined : "other";
}

function troubleOf(
  gateway: KubernetesGateway,
  { of, name, traffic, mesh }: BindingRequest,
): WaypointTrouble | undefined {
  if (gateway.metadata.deletionTimestamp !== undefined) return "deleting";
  if (isForIngress(gateway, mesh.settings)) return "not a waypoint";
  if (isAttachable(gateway, { name, of, settings: mesh.settings }) === false) return "not allowed";
  if (!takes(gateway, traffic, mesh.settings)) return "other traffic";
  return isNotReady(gateway) ? "not ready" : undefined;
}

/**
 * Whether the status says that the waypoint has no address, which it gets with its first ready pod
 * (gatewayToWaypointTransform).
 */
const isNotReady = ({ status }: KubernetesGateway): boolean =>
  status.addresses.length === 0 &&
  status.conditions.some(({ type, status }) => type === "Programmed" && status === "False");

/**
 * Whether there is a status, as every Gateway of a cluster has one by the definition of its kind, and no address in it yet. Then the
 * Gateway is no waypoint, whatever its conditions say (gatewayToWaypointTransform). In files there is no status.
 */
export const isAwaited = ({ status }: KubernetesGateway): boolean =>
  status.addresses.length === 0 && status.conditions.length > 0;

/** Whether a waypoint processes requests to the addresses of pods. */
export const takesPods = (gateway: KubernetesGateway, settings: MeshSettings): boolean =>
  takes(gateway, "workload", settings);

/** Whether a waypoint processes requests to Services. */
export const takesServices = (gateway: KubernetesGateway, settings: MeshSettings): boolean =>
  takes(gateway, "service", settings);

function takes(gateway: KubernetesGateway, traffic: WaypointTraffic | undefined, settings: MeshSettings): boolean {
  const taken = waypointTraffic(gateway, settings);
  if (traffic === undefined) return ["service", "workload", "all"].includes(taken);
  return taken === "all" || taken === traffic;
}

/** Whether a waypoint is requested and nothing is known that makes it unusable. */
export const isUsable = (binding: WaypointBinding | undefined): binding is WaypointBinding =>
  binding !== undefined && binding.trouble === undefined;

/** Whether gateways send requests for an object to its waypoint; its own label wins (ambient/services.go ingressUseWaypointFromLabels). */
export const isForGateways = (labels: Labels, { metadata }: Namespace): boolean =>
  isTrueText(labels[ingressUseWaypoint] ?? metadata.labels[ingressUseWaypoint]);

/**
 * The identity of a waypoint as a client: istiod runs it with a service account of the waypoint's name, unless an
 * annotation sets another (Istio manifests/charts/istio-control/istio-discovery/files/waypoint.yaml).
 */
export function identityOfWaypoint(
  { name, namespace }: WaypointName,
  gateway: KubernetesGateway | undefined,
): { readonly namespace: string; readonly serviceAccount: string } {
  return { namespace, serviceAccount: gateway?.metadata.annotations[gatewayServiceAccount] || name };
}
