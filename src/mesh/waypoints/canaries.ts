import type { ObjectOf } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Service } from "../membership/services.ts";
import { kubernetesGatewayByName } from "../objects/indexes.ts";
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
/** A namespace and the gateway that its labels name as a canary waypoint. */
export const canaryOfNamespace = relation(
  "canaryOfNamespace",
  index("Namespace", ({ metadata }) => canaryKeys(metadata, metadata.name)),
  kubernetesGatewayByName,
);
/** A Service and the gateway that its own labels name as a canary waypoint. */
export const canaryOfService = relation(
  "canaryOfService",
  index("Service", ({ metadata }) => canaryKeys(metadata, metadata.namespace)),
  kubernetesGatewayByName,
);
/** A ServiceEntry and the gateway that its own labels name as a canary waypoint. */
export const canaryOfServiceEntry = relation(
  "canaryOfServiceEntry",
  index("ServiceEntry", ({ metadata }) => canaryKeys(metadata, metadata.namespace)),
  kubernetesGatewayByName,
);

/** What the functions of this file read. */
export const canaryReads = [canaryOfNamespace, canaryOfService, canaryOfServiceEntry] as const;
type View = MeshView<(typeof canaryReads)[number]>;

/** A canary, and the percentage of the connections that it gets, 0 to 100. */
interface Weighted {
  readonly binding: WaypointBinding;
  readonly weight: number;
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
  mesh: View,
): Weighted | undefined {
  if (!isUsable(primary)) return undefined;
  const { marked, weight, isOwn } = canaryMarks(object, namespace);
  const { name } = namespace.metadata;
  const named = canaryNamed(marked, name);
  const isSame = named === undefined || formatWaypoint(named) === formatWaypoint(primary.named);
  if (isSame || !isPercentage.test(weight)) return undefined;
  const request = { of: namespace, name, traffic: "service", mesh } as const;
  const gateways = gatewaysOfCanary(isOwn ? object : undefined, namespace, mesh);
  return { binding: bound(named, isOwn ? "own" : "namespace", gateways, request), weight: Number(weight) };
}

/** The canary if it gets connections. It may not be usable; then istiod ignores it. */
export function canaryBindingOf(
  object: Front | undefined,
  namespace: Namespace,
  primary: WaypointBinding | undefined,
  mesh: View,
): WaypointBinding | undefined {
  const found = weightedCanary(object, namespace, primary, mesh);
  return found === undefined || found.weight === 0 ? undefined : { ...found.binding, share: found.weight / 100 };
}

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
  if (!isUsable(primary)) return [];
  const canary = canaryBindingOf(object, namespace, primary, mesh);
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
  const canary = weightedCanary(object, namespace, primary, mesh)?.binding;
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

function gatewaysOfCanary(object: Front | undefined, namespace: Namespace, mesh: View): readonly KubernetesGateway[] {
  if (object === undefined) return mesh.related(canaryOfNamespace, namespace);
  return object.kind === "Service" ? mesh.related(canaryOfService, object) : mesh.related(canaryOfServiceEntry, object);
}
