import type { ObjectOf } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Service } from "../membership/services.ts";
import { kubernetesGatewayByName, namespaceByName } from "../objects/indexes.ts";
import { canaryWeight, useWaypoint, useWaypointCanary, useWaypointCanaryNamespace } from "../objects/labels.ts";
import { bound, formatWaypoint, isUsable, keysNamed, type WaypointBinding, type WaypointName } from "./bindings.ts";

// A second waypoint that gets a share of the connections to Services and ServiceEntries, which is how one waypoint replaces another.

type Front = Service | ObjectOf<"ServiceEntry">;
type Marked = Pick<Service["metadata"], "labels" | "annotations">;

/** The canary in the labels of an object; its namespace is by default that of the object (getUseWaypointCanary). */
function canaryNamed({ labels }: Marked, namespace: string): WaypointName | undefined {
  const name = labels[useWaypointCanary];
  if (name === undefined || name === "" || name === "none") return undefined;
  return { name, namespace: labels[useWaypointCanaryNamespace] ?? namespace };
}
const canaryKeys = (marked: Marked, namespace: string): readonly string[] => {
  const named = canaryNamed(marked, namespace);
  return named === undefined ? [] : [formatWaypoint(named)];
};
/** Namespaces by the waypoint and by the canary that their labels name. */
export const namespacesNamingWaypoint = index("Namespace", ({ metadata }) => [
  ...keysNamed(metadata.labels, metadata.name),
  ...canaryKeys(metadata, metadata.name),
]);
/** Services by the waypoint and by the canary that their own labels name. */
export const servicesNamingWaypoint = index("Service", ({ metadata }) => [
  ...keysNamed(metadata.labels, metadata.namespace),
  ...canaryKeys(metadata, metadata.namespace),
]);
/** ServiceEntries by the waypoint and by the canary that their own labels name. */
export const serviceEntriesNamingWaypoint = index("ServiceEntry", ({ metadata }) => [
  ...keysNamed(metadata.labels, metadata.namespace),
  ...canaryKeys(metadata, metadata.namespace),
]);
/** Namespaces by the canary that their labels name. */
export const namespacesByCanary = index("Namespace", ({ metadata }) => canaryKeys(metadata, metadata.name));
/** Services by the canary that their own labels name. */
export const servicesByCanary = index("Service", ({ metadata }) => canaryKeys(metadata, metadata.namespace));
/** A Service that names a canary itself, and its namespace. */
export const namespaceOfCanaryService = relation(
  "namespaceOfCanaryService",
  index("Service", ({ metadata }) =>
    canaryKeys(metadata, metadata.namespace).length === 0 ? [] : [metadata.namespace],
  ),
  namespaceByName,
);
/** A namespace and the gateway that its labels name as a canary waypoint. */
export const canaryOfNamespace = relation("canaryOfNamespace", namespacesByCanary, kubernetesGatewayByName);
/** A Service and the gateway that its own labels name as a canary waypoint. */
export const canaryOfService = relation("canaryOfService", servicesByCanary, kubernetesGatewayByName);
/** A ServiceEntry and the gateway that its own labels name as a canary waypoint. */
export const canaryOfServiceEntry = relation(
  "canaryOfServiceEntry",
  index("ServiceEntry", ({ metadata }) => canaryKeys(metadata, metadata.namespace)),
  kubernetesGatewayByName,
);

/** What the functions of this file read. */
export const canaryReads = [canaryOfNamespace, canaryOfService, canaryOfServiceEntry] as const;
type View = MeshView<(typeof canaryReads)[number]>;
/** What `waypointsUsedForService` reads. */
export const serviceCanaryReads = [canaryOfNamespace, canaryOfService] as const;
type ServiceView = MeshView<(typeof serviceCanaryReads)[number]>;

/** A canary, and the percentage of the connections that it gets, 0 to 100. */
interface Weighted {
  readonly binding: WaypointBinding;
  readonly weight: number;
}

/** How the gateway is found that the labels of an object name as a canary, or those of the namespace. */
interface LookUp {
  readonly mesh: MeshView;
  readonly named: (object: Front | undefined, namespace: Namespace) => readonly KubernetesGateway[];
}

/**
 * The canary of a Service or a ServiceEntry, or with `object` undefined of those without a waypoint label of their own. Label and
 * annotation of the namespace count for objects without a use-waypoint label (Istio
 * pilot/pkg/serviceregistry/ambient/waypoints.go ResolveUseWaypointCanary, buildWeightedWaypoints).
 */
function weightedCanary(
  object: Front | undefined,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  { mesh, named: found }: LookUp,
): Weighted | undefined {
  if (!isUsable(primary)) return undefined;
  const { marked, weight, isOwn } = canaryMarks(object, namespace);
  const { name } = namespace.metadata;
  const named = canaryNamed(marked, name);
  const isSame = named === undefined || formatWaypoint(named) === formatWaypoint(primary.named);
  if (isSame || !isPercentage.test(weight)) return undefined;
  const request = { of: namespace, name, traffic: "service", mesh } as const;
  const gateways = found(isOwn ? object : undefined, namespace);
  return { binding: bound(named, isOwn ? "own" : "namespace", gateways, request), weight: Number(weight) };
}

/** The canary if it gets connections. It may not be usable; then istiod ignores it. */
export function canaryBindingOf(
  object: Front | undefined,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  mesh: View,
): WaypointBinding | undefined {
  return withConnections(weightedCanary(object, namespace, primary, lookUp(mesh)));
}

const withConnections = (found: Weighted | undefined): WaypointBinding | undefined =>
  found === undefined || found.weight === 0 ? undefined : { ...found.binding, share: found.weight / 100 };

/**
 * The waypoints that connections to a Service or a ServiceEntry go through, each with its share: its waypoint and its canary. None if
 * its waypoint is not usable. The client selects one for each connection (Istio pkg/workloadapi/workload.proto weighted_waypoints,
 * pilot/pkg/xds/endpoints/endpoint_builder.go weightedWaypointEndpoints).
 */
export function waypointsUsed(
  object: Front,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  mesh: View,
): readonly WaypointBinding[] {
  return usedOf(primary, canaryBindingOf(object, namespace, primary, mesh));
}

/** The same of a Service, or with `service` undefined of what has no waypoint label of its own. */
export function waypointsUsedForService(
  service: Service | undefined,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  mesh: ServiceView,
): readonly WaypointBinding[] {
  const named: LookUp["named"] = (own) => gatewaysOfService(own === undefined ? undefined : service, namespace, mesh);
  return usedOf(primary, withConnections(weightedCanary(service, namespace, primary, { mesh, named })));
}

function usedOf(primary: WaypointBinding | undefined, canary: WaypointBinding | undefined): readonly WaypointBinding[] {
  if (!isUsable(primary)) return [];
  if (!isUsable(canary)) return [primary];
  const { share = 1 } = canary;
  return share === 1 ? [canary] : [{ ...primary, share: 1 - share }, canary];
}

/** Those that have the configuration for it: also a canary that gets no connections (ambientindex.go serviceOwningWaypoints). */
export function waypointsConfigured(
  object: Front,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  mesh: View,
): readonly WaypointBinding[] {
  if (!isUsable(primary)) return [];
  const canary = weightedCanary(object, namespace, primary, lookUp(mesh))?.binding;
  return isUsable(canary) ? [primary, canary] : [primary];
}

/** What names the canary, and its share, each of the object itself or of its namespace. */
function canaryMarks(object: Front | undefined, namespace: Namespace) {
  const own = object?.metadata ?? noMarks;
  const inherited = own.labels[useWaypoint] === undefined ? namespace.metadata : noMarks;
  const isOwn = own.labels[useWaypointCanary] !== undefined;
  const weight = own.annotations[canaryWeight] ?? inherited.annotations[canaryWeight] ?? "0";
  return { marked: isOwn ? own : inherited, weight, isOwn };
}
const noMarks: Marked = { labels: {}, annotations: {} };
/** 0 to 100, as Go's strconv.Atoi reads it. Another number than a percentage makes istiod ignore the canary. */
const isPercentage = /^(?:\+?0*(?:100|[1-9]?[0-9])|-0+)$/;

const lookUp = (mesh: View): LookUp => ({
  mesh,
  named: (object, namespace) =>
    object?.kind === "ServiceEntry"
      ? mesh.related(canaryOfServiceEntry, object)
      : gatewaysOfService(object, namespace, mesh),
});

const gatewaysOfService = (
  service: Service | undefined,
  namespace: Namespace,
  mesh: ServiceView,
): readonly KubernetesGateway[] =>
  service === undefined ? mesh.related(canaryOfNamespace, namespace) : mesh.related(canaryOfService, service);
