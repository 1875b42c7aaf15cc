import { index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { selectsByExpression } from "../objects/selectors.ts";
import { fullHost, hostOfService } from "../traffic/hosts.ts";
import { type KubernetesGateway, isForIngress } from "../membership/gateways.ts";
import type { Service } from "../membership/services.ts";
import { kubernetesGatewayByName } from "../objects/indexes.ts";
import { managedGateway, useWaypoint, useWaypointNamespace, waypointFor } from "../objects/labels.ts";

type Labels = Readonly<Record<string, string>>;

/** The gateway that labels name as a waypoint, whether it is there or not. */
export interface WaypointName {
  readonly name: string;
  readonly namespace: string;
}

/**
 * What labels say of a waypoint: its name, that there shall be `none`, or nothing. Without a namespace of its own it
 * is the namespace of the object (Istio pilot/pkg/serviceregistry/ambient/waypoints.go GetUseWaypoint).
 */
export function waypointNamed(labels: Labels, namespace: string): WaypointName | "none" | undefined {
  const name = labels[useWaypoint];
  if (name === undefined || name === "none") return name;
  return { name, namespace: labels[useWaypointNamespace] ?? namespace };
}

export const formatWaypoint = ({ name, namespace }: WaypointName): string => `${namespace}/${name}`;

function keysNamed(labels: Labels, namespace: string): readonly string[] {
  const named = waypointNamed(labels, namespace);
  return named === undefined || named === "none" ? [] : [formatWaypoint(named)];
}

/** Namespaces under the waypoint that they name, `namespace/name`. */
export const namespacesByWaypoint = index("Namespace", ({ metadata }) => keysNamed(metadata.labels, metadata.name));
/** Services under the waypoint that they name themselves. */
export const servicesByWaypoint = index("Service", ({ metadata }) => keysNamed(metadata.labels, metadata.namespace));
const workloadsByWaypoint = index("Workload", ({ metadata, pod }) => keysNamed(pod.labels, metadata.namespace));
/** A namespace and the gateway that its labels name as a waypoint. */
export const waypointOfNamespace = relation("waypointOfNamespace", namespacesByWaypoint, kubernetesGatewayByName);
/** A Service and the gateway that its own labels name. */
export const waypointOfService = relation("waypointOfService", servicesByWaypoint, kubernetesGatewayByName);
/** A workload and the gateway that its pods' own labels name. */
export const waypointOfWorkload = relation("waypointOfWorkload", workloadsByWaypoint, kubernetesGatewayByName);

/** A VirtualService and the Services of this cluster that it names as hosts, each by its whole name. */
export const servicesOfVirtualService = relation(
  "servicesOfVirtualService",
  index("VirtualService", ({ metadata, spec }, { domain }) =>
    spec.hosts.map((host) => fullHost(host, metadata.namespace, domain)),
  ),
  index("Service", (service, { domain }) => [hostOfService(service, domain)]),
);

/** What a waypoint is for: requests to a Service, or to the address of a pod. */
export type WaypointTraffic = "service" | "workload";

/**
 * Why a waypoint that is named takes no traffic, which then goes past it.
 * - `missing`: there is no such Gateway.
 * - `no waypoint`: the Gateway is one for ingress.
 * - `going`: it is being deleted.
 * - `not ready`: it never had a pod that was ready.
 * - `not allowed`: its listener takes nothing from this namespace.
 * - `other traffic`: it is for another kind of traffic.
 */
export type WaypointTrouble = "missing" | "no waypoint" | "going" | "not ready" | "not allowed" | "other traffic";

/** A waypoint that is asked for. */
export interface WaypointBinding {
  readonly named: WaypointName;
  /** Whose labels name it: those of the object itself, or of its namespace. */
  readonly by: "own" | "namespace";
  /** Undefined where there is none, or where no gateways are known. */
  readonly gateway: KubernetesGateway | undefined;
  /** Undefined: it is usable, as far as anybody knows. */
  readonly trouble: WaypointTrouble | undefined;
}

/** What a namespace's labels ask for, for whatever is in it. */
export function waypointBindingOfNamespace(
  namespace: Namespace,
  mesh: MeshView<typeof waypointOfNamespace>,
): WaypointBinding | undefined {
  const named = waypointNamed(namespace.metadata.labels, namespace.metadata.name);
  if (named === undefined || named === "none") return undefined;
  return bound(named, "namespace", mesh.related(waypointOfNamespace, namespace), {
    of: namespace,
    name: namespace.metadata.name,
    traffic: undefined,
    mesh,
  });
}

/**
 * The waypoint of requests to a Service: its own labels go before those of its namespace, and where they name one that
 * is not usable nothing takes its place (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget,
 * fetchWaypointForService). Waypoints have none themselves.
 */
export function waypointBindingOfService(
  service: Service,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointOfNamespace | typeof waypointOfService>,
): WaypointBinding | undefined {
  if (service.metadata.labels[managedGateway] !== undefined) return undefined;
  const named = waypointNamed(service.metadata.labels, service.metadata.namespace);
  if (named === "none") return undefined;
  const request = { of: namespace, name: service.metadata.namespace, traffic: "service", mesh } as const;
  if (named !== undefined) return bound(named, "own", mesh.related(waypointOfService, service), request);
  return inherited(namespace, mesh, "service");
}

/**
 * The waypoint of requests to a pod's own address (fetchWaypointForWorkload): that of its namespace counts only where
 * it is for workloads, which is no mistake.
 */
export function waypointBindingOfWorkload(
  workload: Workload,
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointOfNamespace | typeof waypointOfWorkload>,
): WaypointBinding | undefined {
  const named = waypointNamed(workload.pod.labels, workload.metadata.namespace);
  if (named === "none") return undefined;
  const request = { of: namespace, name: workload.metadata.namespace, traffic: "workload", mesh } as const;
  if (named !== undefined) return bound(named, "own", mesh.related(waypointOfWorkload, workload), request);
  const binding = inherited(namespace, mesh, "workload");
  return binding?.trouble === "other traffic" ? undefined : binding;
}

function inherited(
  namespace: Namespace | undefined,
  mesh: MeshView<typeof waypointOfNamespace>,
  traffic: WaypointTraffic,
): WaypointBinding | undefined {
  const binding = namespace && waypointBindingOfNamespace(namespace, mesh);
  if (binding?.gateway === undefined || binding.trouble !== undefined) return binding;
  return { ...binding, trouble: takes(binding.gateway, traffic) ? undefined : "other traffic" };
}

interface BindingRequest {
  /** The namespace that the traffic is for, where it is known. */
  readonly of: Namespace | undefined;
  readonly name: string;
  readonly traffic: WaypointTraffic | undefined;
  readonly mesh: MeshView;
}

function bound(
  named: WaypointName,
  by: WaypointBinding["by"],
  found: readonly KubernetesGateway[],
  request: BindingRequest,
): WaypointBinding {
  const [gateway] = found;
  if (gateway !== undefined) return { named, by, gateway, trouble: troubleOf(gateway, request) };
  return { named, by, gateway, trouble: request.mesh.knows("KubernetesGateway") ? "missing" : undefined };
}

function troubleOf(gateway: KubernetesGateway, { of, name, traffic }: BindingRequest): WaypointTrouble | undefined {
  if (gateway.metadata.deletionTimestamp !== undefined) return "going";
  if (isForIngress(gateway)) return "no waypoint";
  if (isAttachable(gateway, name, of) === false) return "not allowed";
  if (!takes(gateway, traffic)) return "other traffic";
  return isNotReady(gateway) ? "not ready" : undefined;
}

/** istiod waits for an address, which comes with the first ready pod (gatewayToWaypointTransform), and says so. */
const isNotReady = ({ status }: KubernetesGateway): boolean =>
  status.addresses.length === 0 &&
  status.conditions.some(({ type, status }) => type === "Programmed" && status === "False");

const inboundBinding = "ambient.istio.io/waypoint-inbound-binding";

/**
 * Whether the listener for the mesh's traffic takes something from a namespace: by default from its own only
 * (makeAllowedRoutes, AllowsAttachmentFromNamespace). Undefined: that depends on what was not seen.
 */
function isAttachable(
  { metadata, spec }: KubernetesGateway,
  namespace: string,
  of: Namespace | undefined,
): boolean | undefined {
  // Another listener may count, which the GatewayClass may name, too.
  if (metadata.annotations[inboundBinding] !== undefined) return undefined;
  const { from, selector } = allowedNamespaces(spec);
  if (from === "All") return true;
  if (from !== "Selector") return metadata.namespace === namespace;
  if (selector === undefined) return false;
  return of === undefined || of.implied ? undefined : selectsByExpression(selector, of.metadata.labels);
}

function allowedNamespaces({ listeners }: KubernetesGateway["spec"]) {
  const listener = listeners.find(({ protocol, port }) => protocol === "HBONE" && port === 15008);
  return listener?.allowedRoutes?.namespaces ?? { from: undefined, selector: undefined };
}

/** Without a label of its own a gateway has that of its class, and else is for Services (gatewayToWaypointTransform). */
export const waypointTraffic = ({ metadata }: KubernetesGateway): string => metadata.labels[waypointFor] ?? "service";

function takes(gateway: KubernetesGateway, traffic: WaypointTraffic | undefined): boolean {
  const taken = waypointTraffic(gateway);
  if (traffic === undefined) return ["service", "workload", "all"].includes(taken);
  return taken === "all" || taken === traffic;
}

/** Whether something shall use a waypoint, and nothing says that it cannot. */
export const isUsable = (binding: WaypointBinding | undefined): binding is WaypointBinding =>
  binding !== undefined && binding.trouble === undefined;

/**
 * Who a waypoint is where it calls: istiod runs it under a service account of its own name, unless an annotation names
 * another (Istio manifests/charts/istio-control/istio-discovery/files/waypoint.yaml).
 */
export function identityOfWaypoint(
  { name, namespace }: WaypointName,
  gateway: KubernetesGateway | undefined,
): { readonly namespace: string; readonly serviceAccount: string } {
  return { namespace, serviceAccount: gateway?.metadata.annotations["gateway.istio.io/service-account"] ?? name };
}
