import { idOf, keyOf } from "../../kube/identity.ts";
import { type MeshView, reachedBy } from "../../view/view.ts";
import type { ChangedPlace } from "../authorization/changed-places.ts";
import { authorization, hasDefaultDeny } from "../authorization/effective-authorization.ts";
import { allowsNobody, type Applied } from "../authorization/requests/applied.ts";
import { Asked } from "../authorization/requests/gains.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { formatWaypoint, identityOfWaypoint, type WaypointBinding } from "./bindings.ts";
import { accountOf, waypointAccountsNamed } from "./guarded-traffic.ts";
import { concernedDestinations, readsConcerned, waypointsOf } from "./opened-waypoints.ts";
import { readsServedPlaces, type ServedPolicies, servedPolicies } from "./served-places.ts";
import { type Addressed, nameOfDestination } from "./served-traffic.ts";
import { keptByZtunnel, podsBehind } from "./ztunnel-behind.ts";

// Requests that begin to go through a waypoint are decided by its policies, and ztunnel at the pods sees the waypoint instead of the caller.
// Without it, ztunnel decides about the caller (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget,
// authorization.go convertAuthorizationPolicy).

/** What the functions of this file read. Policies that change are compared where they are, so that no change reaches a rule through ztunnel's. */
export const readsNewWays = [
  ...readsServedPlaces,
  ...readsConcerned,
  reachedBy(keptByZtunnel, []),
  reachedBy(waypointAccountsNamed, []),
] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsNewWays)[number]>;
}

/** An object to which requests go another way since a change. */
interface NewWay {
  readonly object: Addressed;
  readonly from: readonly WaypointBinding[];
  readonly to: readonly WaypointBinding[];
}

function* newWays(before: Side, after: Side): Generator<NewWay, undefined> {
  if (isTerminating(before.object) || isTerminating(after.object)) return;
  for (const { now, was } of concernedDestinations(before, after))
    for (const object of now) {
      const former = was(object);
      if (former === undefined) continue;
      const [from, to] = [waypointsOf(former, before), waypointsOf(object, after)];
      if (namesOf(from) !== namesOf(to)) yield { object, from, to };
    }
}

const namesOf = (waypoints: readonly WaypointBinding[]): string =>
  waypoints.map(({ named }) => formatWaypoint(named)).join();

const policiesAt = (policies: ServedPolicies, waypoint: WaypointBinding, object: Addressed) =>
  policies.at(waypoint, object.kind, nameOfDestination(object));

/**
 * The places where callers gain what a waypoint allows them, because requests begin to go through it and ztunnel lets it in. Those without a
 * default deny are left out, see opened-waypoints.ts.
 */
export function* joinedPlaces(before: Side, after: Side): Generator<ChangedPlace | undefined, undefined> {
  const compared = new Map<Applied, Set<string>>();
  for (const way of newWays(before, after)) {
    yield undefined;
    for (const joined of joinedBy(way, before, after))
      if (isNew(joined, compared)) yield placeOf(joined, before, after);
  }
}

/** Pods, and the waypoint in front of them. */
interface Joined {
  readonly name: string;
  readonly was: Applied;
  readonly at: NonNullable<ReturnType<typeof policiesAt>>;
  readonly workload: Workload;
}

function* joinedBy({ object, from, to }: NewWay, before: Side, after: Side): Generator<Joined, undefined> {
  const behind = podsBehind({ kind: object.kind, object });
  if (from.length > 0 || behind === undefined) return;
  const policies = after.mesh.get(servedPolicies, after.object);
  for (const waypoint of to) {
    const at = policiesAt(policies, waypoint, object);
    if (at === undefined || !letsIn(waypoint, behind, after) || !hasDefaultDeny(at.coverage())) continue;
    const name = `${idOf(object)}, at waypoint ${formatWaypoint(waypoint.named)}`;
    for (const [was, workload] of ambientPods(behind, before)) yield { name, was, at, workload };
  }
}

/** A namespace can have thousands of Services with the same policies. */
function isNew({ was, at }: Joined, compared: Map<Applied, Set<string>>): boolean {
  const policies = at.applied.lists.flatMap((list) => list.policies.map(keyOf)).join();
  const known = compared.get(was) ?? new Set();
  compared.set(was, known);
  if (known.has(policies)) return false;
  known.add(policies);
  return true;
}

const placeOf = ({ name, was, at, workload }: Joined, { object, mesh }: Side, after: Side): ChangedPlace => ({
  name,
  namespace: after.object.metadata.name,
  workload: undefined,
  isIngress: false,
  future: undefined,
  asked: new Asked(was, at.applied),
  coverageBefore: () => mesh.get(authorization, object).ofWorkload(workload),
  coverageAfter: () => at.coverage(),
});

/** Those that ztunnel protects, one for each combination of policies. */
function ambientPods(
  selector: Readonly<Record<string, string>>,
  { object, mesh }: Side,
): ReadonlyMap<Applied, Workload> {
  const there = mesh.get(authorization, object);
  const found = new Map<Applied, Workload>();
  const selected = there.workloadsByLabel.selected(selector);
  mesh.visited(selected.length);
  for (const workload of selected) {
    const applied = there.applied.toWorkload(workload);
    if (applied.place === "ztunnel" && !found.has(applied)) found.set(applied, workload);
  }
  return found;
}

const letsIn = (
  { named, gateway }: WaypointBinding,
  selector: Readonly<Record<string, string>>,
  { object, mesh }: Side,
): boolean => mesh.get(keptByZtunnel, object).letsIn(identityOfWaypoint(named, gateway), selector);

/** Objects to which no requests get any more, because they go another way. */
export interface ClosedWay {
  readonly objects: readonly Addressed[];
  /** The waypoint that refuses them; undefined: ztunnel does, because they bypass the waypoint before. */
  readonly waypoint: WaypointBinding | undefined;
}

/** Those at each waypoint that allows nobody, and those that only waypoints may reach. */
export function closedWays(before: Side, after: Side): Iterable<ClosedWay> {
  const found = new Map<string, { readonly objects: Addressed[]; readonly waypoint: WaypointBinding | undefined }>();
  for (const way of newWays(before, after)) {
    if (!isReached(way, before)) continue;
    for (const waypoint of closedAmong(way, after)) {
      const key = waypoint === undefined ? "" : formatWaypoint(waypoint.named);
      const known = found.get(key);
      if (known === undefined) found.set(key, { objects: [way.object], waypoint });
      else known.objects.push(way.object);
    }
  }
  return found.values();
}

/** Whether some requests got to the pods before: not if ztunnel or all waypoints refused them. */
function isReached({ object, from, to }: NewWay, before: Side): boolean {
  const policies = before.mesh.get(servedPolicies, before.object);
  if (from.length > 0 && from.every((waypoint) => isClosed(waypoint, object, policies))) return false;
  const behind = podsBehind({ kind: object.kind, object });
  if (behind === undefined) return true;
  return from.length === 0
    ? !isForWaypointsAlone(to, behind, before)
    : ambientPods(behind, before).size === 0 || from.some((waypoint) => letsIn(waypoint, behind, before));
}

function closedAmong({ object, from, to }: NewWay, after: Side): readonly (WaypointBinding | undefined)[] {
  if (to.length === 0) {
    const behind = podsBehind({ kind: object.kind, object });
    return behind !== undefined && isForWaypointsAlone(from, behind, after) ? [undefined] : [];
  }
  const policies = after.mesh.get(servedPolicies, after.object);
  const before = new Set(from.map(({ named }) => formatWaypoint(named)));
  return to.filter((waypoint) => !before.has(formatWaypoint(waypoint.named)) && isClosed(waypoint, object, policies));
}

function isClosed(waypoint: WaypointBinding, object: Addressed, policies: ServedPolicies): boolean {
  const at = policiesAt(policies, waypoint, object);
  return at !== undefined && (allowsNobody(at.applied) || at.coverage().sealedBy !== undefined);
}

/** Whether ztunnel refuses every caller but some waypoints, and those that other objects of the namespace use. */
function isForWaypointsAlone(
  waypoints: readonly WaypointBinding[],
  selector: Readonly<Record<string, string>>,
  { object, mesh }: Side,
): boolean {
  const accounts = new Set([...waypoints.map(accountOf), ...mesh.get(waypointAccountsNamed, object)]);
  return mesh.get(keptByZtunnel, object).from((account) => accounts.has(account), selector);
}
