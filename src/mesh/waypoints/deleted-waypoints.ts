import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { MeshView } from "../../view/view.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { workloadEntriesOfNamespace } from "../membership/workload-entries.ts";
import { useWaypoint } from "../objects/labels.ts";
import {
  formatWaypoint,
  isUsable,
  namespaceOfGateway,
  ownWaypointOfWorkloadEntry,
  type WaypointBinding,
  type WaypointName,
  waypointOfWorkloadEntry,
} from "./bindings.ts";
import { isGone } from "./departures.ts";
import { type ServedTraffic, servingWaypoints, type ServingWaypoints } from "./served-traffic.ts";

/** Objects and the waypoint that their labels request. */
interface Bound {
  readonly object: ServedTraffic["object"] | WorkloadEntry;
  readonly binding: WaypointBinding | undefined;
}
type WorkloadEntry = ObjectOf<"WorkloadEntry">;

/** What `deletedWaypoints` reads. */
export const readsDeletedWaypoints = [
  servingWaypoints,
  namespaceOfGateway,
  workloadEntriesOfNamespace,
  waypointOfWorkloadEntry,
] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsDeletedWaypoints)[number]>;
}

/** A waypoint that served objects of a namespace, is deleted, and is still named. */
export interface DeletedWaypoint {
  readonly named: WaypointName;
  /** As it was before. */
  readonly gateway: KubernetesGateway;
  /** The objects whose own labels name it. */
  readonly users: readonly AnyObject[];
  /** Whether the label of the namespace names it, and objects of the namespace use it by that. */
  readonly isOfNamespace: boolean;
}

/** Very many objects can name one waypoint. */
interface Found extends DeletedWaypoint {
  readonly users: AnyObject[];
  isOfNamespace: boolean;
}

/**
 * The waypoints that a change deletes while labels of a namespace, or of what is in it, still name them, also together with the namespace
 * that they are in. A Gateway of the same name that is there after the change is none, and neither is one that served nothing.
 */
export function deletedWaypoints(before: Side, after: Side): readonly DeletedWaypoint[] {
  if (isTerminating(before.object) || isGone(before.object, after.object)) return [];
  const found = new Map<string, Found>();
  for (const [was, is] of allPairs(before, after)) {
    const gateway = deletedGateway(was, is, [before, after]);
    if (gateway === undefined || is.binding === undefined) continue;
    const { named, by } = is.binding;
    const key = formatWaypoint(named);
    const deleted = found.get(key) ?? { named, gateway, users: [], isOfNamespace: false };
    found.set(key, deleted);
    if (by === "own" && is.object !== undefined) deleted.users.push(is.object);
    else deleted.isOfNamespace = true;
  }
  return [...found.values()];
}

function* allPairs(before: Side, after: Side): Iterable<readonly [Bound, Bound]> {
  const old = before.mesh.get(servingWaypoints, before.object);
  const entries = before.mesh.related(workloadEntriesOfNamespace, before.object);
  if (old.areNone && !entries.some(isLabelled)) return;
  yield* pairs(old, after.mesh.get(servingWaypoints, after.object));
  yield* pairsOfEntries(entries, before, after);
}

/** What labels give a waypoint, before and after. */
function* pairs(old: ServingWaypoints, now: ServingWaypoints): Iterable<readonly [Bound, Bound]> {
  for (const kind of ["Service", "Workload"] as const) {
    const was = old.ofUnlabelled(kind);
    if (isUsable(was.binding) && old.hasUnlabelled(kind) && now.hasUnlabelled(kind))
      yield [was, now.ofUnlabelled(kind)];
  }
  for (const kind of ["Service", "ServiceEntry", "Workload"] as const)
    for (const name of old.labelled(kind)) {
      const [was, is] = [old.bound(kind, name), now.bound(kind, name)];
      if (was !== undefined && is !== undefined) yield [was, is];
    }
}

const isLabelled = ({ metadata }: WorkloadEntry): boolean => metadata.labels[useWaypoint] !== undefined;

/** The same for the addresses of WorkloadEntries. Those without a label have the waypoint of the namespace, if it is for workloads. */
function* pairsOfEntries(
  entries: readonly WorkloadEntry[],
  before: Side,
  after: Side,
): Iterable<readonly [Bound, Bound]> {
  if (entries.length === 0) return;
  const now = new Map(
    after.mesh.related(workloadEntriesOfNamespace, after.object).map((entry) => [entry.metadata.name, entry]),
  );
  before.mesh.visited(entries.length + now.size);
  for (const entry of entries) {
    const same = now.get(entry.metadata.name);
    if (same !== undefined) yield [boundEntry(entry, before), boundEntry(same, after)];
  }
}

const boundEntry = (entry: WorkloadEntry, { object, mesh }: Side): Bound =>
  isLabelled(entry)
    ? { object: entry, binding: ownWaypointOfWorkloadEntry(entry, object, mesh) }
    : mesh.get(servingWaypoints, object).ofUnlabelled("Workload");

/** The Gateway that served the traffic and that is gone, or will be, although the same one is still named. */
function deletedGateway(was: Bound, is: Bound, sides: readonly [Side, Side]): KubernetesGateway | undefined {
  if (!isUsable(was.binding) || is.binding === undefined) return undefined;
  if (formatWaypoint(was.binding.named) !== formatWaypoint(is.binding.named)) return undefined;
  const { trouble } = is.binding;
  if (trouble === undefined) return gatewayOfDeletedNamespace(was.binding.gateway, sides);
  return trouble === "missing" || trouble === "deleting" ? was.binding.gateway : undefined;
}

/** The Gateway if its namespace, another one, is deleted: Kubernetes then deletes the Gateway. */
function gatewayOfDeletedNamespace(
  gateway: KubernetesGateway | undefined,
  sides: readonly [Side, Side],
): KubernetesGateway | undefined {
  if (gateway === undefined) return undefined;
  const [old, now] = sides.map(({ mesh }) => mesh.related(namespaceOfGateway, gateway)[0]);
  if (old === undefined || isTerminating(old)) return undefined;
  return now === undefined || isGone(old, now) ? gateway : undefined;
}
