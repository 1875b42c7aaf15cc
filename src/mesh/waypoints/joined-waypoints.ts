import { idOf } from "../../kube/identity.ts";
import type { Labels } from "../../kube/object.ts";
import type { ChangedPlace } from "../authorization/changed-places.ts";
import { authorization } from "../authorization/effective-authorization.ts";
import type { Applied } from "../authorization/requests/applied.ts";
import { Asked } from "../authorization/requests/gains.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace } from "../membership/workload-entries.ts";
import type { Workload } from "../membership/workloads.ts";
import { formatWaypoint, type WaypointBinding } from "./bindings.ts";
import { waypointsOf } from "./opened-waypoints.ts";
import { type ServedPolicies, servedPolicies } from "./served-places.ts";
import type { Addressed } from "./served-traffic.ts";
import {
  type NewWay,
  newWays,
  Pods,
  podsThatGet,
  type Side,
  sameWays,
  targetedNameOf,
  type TargetedNames,
  targetedNames,
} from "./new-ways.ts";

// What begins to be let through by a waypoint: the caller is decided about there, and ztunnel or a sidecar at the pods sees the waypoint. So the
// policies at the pods before are compared with those at the waypoint after, where the pods let the waypoint in.

/** A place that is reached through a waypoint from now on. */
export interface JoinedWaypoint {
  readonly place: ChangedPlace;
  readonly waypoint: WaypointBinding;
  /** Whether its pods are behind ztunnel from now on, and had sidecars before. */
  readonly isMigrated: boolean;
  /** Whether ztunnel let nobody but waypoints in before, so that it did not decide about other callers. */
  isForWaypointsAlone(): boolean;
  /** Why it may be opened to nobody, as the rest of a sentence after "because"; undefined: it is opened. */
  readonly doubt: string | undefined;
}

/** All of them. */
export function* joinedWaypoints(before: Side, after: Side): Generator<JoinedWaypoint | undefined, undefined> {
  const policies = after.mesh.get(servedPolicies, after.object);
  const targeted = targetedNames(policies);
  const sides = { was: new Pods(before), is: new Pods(after), reached: new Reached(before, targeted) };
  const compared = new Map<Applied, Set<string>>();
  for (const way of waysTaken(before, after)) {
    yield undefined;
    const joined = [...joinedBy(way, sides)].filter((one) => isNew(one, targeted, compared));
    for (const one of joined) {
      const at = policies.at(one.waypoint, one.object.kind, targetedNameOf(one.object, targeted));
      if (at !== undefined) yield { ...one, place: placeOf(one, at, before, after) };
    }
  }
}

function* waysTaken(before: Side, after: Side): Generator<NewWay, undefined> {
  yield* newWays(before, after);
  yield* sameWays(before, after);
}

/** Pods, and the waypoint in front of them. */
interface Joined extends Omit<JoinedWaypoint, "place"> {
  readonly object: Addressed;
  readonly was: Applied;
  readonly workload: Workload;
}

interface Compared {
  readonly was: Pods;
  readonly is: Pods;
  readonly reached: Reached;
}

const protections = ["ambient", "sidecar"] as const;

function* joinedBy(way: NewWay, { was: before, is: after, reached }: Compared): Generator<Joined, undefined> {
  const { object, from, to } = way;
  const selectors = selectorsOf(way);
  if (selectors === undefined) return;
  const [then, now] = selectors;
  for (const capture of protections) {
    const old = before.protectedBy(capture, then);
    if (old.size === 0) continue;
    const isForWaypointsAlone = () => capture === "ambient" && before.areForWaypointsAlone(to, then);
    for (const waypoint of to) {
      if (isOldWay(waypoint, from, (one) => before.letIn(one, then, capture))) continue;
      const letInBy = protections.find((one) => after.letIn(waypoint, now, one));
      if (letInBy === undefined) continue;
      const doubt = letInBy === "sidecar" ? behindSidecars : undefined;
      const found = { object, waypoint, isMigrated: capture === "sidecar" && letInBy === "ambient", doubt };
      const others = [...old].filter(
        ([, workload]) => !reached.isKnown(way, waypoint, workload) && !(from.length > 0 && after.isOpen(workload)),
      );
      yield* others.map(([was, workload]) => ({ ...found, was, workload, isForWaypointsAlone }));
    }
  }
}

/** The labels by which its pods are found before and after. What a Service selects from now on may have been there before. */
function selectorsOf({ object, former }: NewWay): readonly [before: Labels, after: Labels] | undefined {
  const now = podsThatGet(object);
  return now && [former?.kind === "Workload" ? former.pod.labels : now, now];
}

const behindSidecars = "sidecars see the waypoint as the caller only where Istio is installed for ambient mode";

/** Whether requests went through waypoints before, of which the pods did not keep this one out. */
function isOldWay(
  { named }: WaypointBinding,
  from: readonly WaypointBinding[],
  wasLetIn: (waypoint: WaypointBinding) => boolean,
): boolean {
  if (from.length === 0) return false;
  const same = from.find((one) => formatWaypoint(one.named) === formatWaypoint(named));
  return same === undefined || wasLetIn(same);
}

/** How pods were reached before a change, by way of Services and ServiceEntries. It is asked of few of them. */
class Reached {
  readonly #side: Side;
  readonly #targeted: TargetedNames;
  #found: ReadonlyMap<Workload, ReadonlySet<string>> | undefined;

  constructor(side: Side, targeted: TargetedNames) {
    this.#side = side;
    this.#targeted = targeted;
  }

  /**
   * Whether a workload is opened by nothing new: it is reached in the same way by another name, or the first one that leads to it
   * begins to serve it.
   */
  isKnown({ object, former, from }: NewWay, { named }: WaypointBinding, workload: Workload): boolean {
    if (from.length > 0) return false;
    if (object.kind === "Workload") return former === undefined;
    const ways = (this.#found ??= this.#find()).get(workload);
    if (ways === undefined) return former === undefined;
    return ways.has(formatWaypoint(named)) && targetedNameOf(object, this.#targeted) === undefined;
  }

  /** The waypoints through which workloads were reached by way of an object that no policy targets. */
  #find(): ReadonlyMap<Workload, ReadonlySet<string>> {
    const { object, mesh } = this.#side;
    const there = mesh.get(authorization, object).workloadsByLabel;
    const found = new Map<Workload, Set<string>>();
    for (const one of [
      ...mesh.related(servicesOfNamespace, object),
      ...mesh.related(selectingEntriesOfNamespace, object),
    ]) {
      const behind = podsThatGet(one);
      const selected = behind === undefined ? [] : there.selected(behind);
      mesh.visited(1 + selected.length);
      const isTargeted = targetedNameOf(one, this.#targeted) !== undefined;
      const names = isTargeted ? [] : waypointsOf(one, this.#side).map(({ named }) => formatWaypoint(named));
      for (const workload of selected) {
        const known = found.get(workload) ?? new Set();
        for (const name of names) known.add(name);
        found.set(workload, known);
      }
    }
    return found;
  }
}

/** A namespace can have thousands of Services that no policy targets. */
function isNew(
  { object, waypoint, was }: Joined,
  targeted: TargetedNames,
  compared: Map<Applied, Set<string>>,
): boolean {
  const own = targetedNameOf(object, targeted);
  const key = `${formatWaypoint(waypoint.named)} ${own === undefined ? "" : `${object.kind} ${own}`}`;
  const known = compared.get(was) ?? new Set();
  compared.set(was, known);
  if (known.has(key)) return false;
  known.add(key);
  return true;
}

type At = NonNullable<ReturnType<ServedPolicies["at"]>>;

const placeOf = ({ object, waypoint, was, workload }: Joined, at: At, before: Side, after: Side): ChangedPlace => ({
  name: `${idOf(object)}, at waypoint ${formatWaypoint(waypoint.named)}`,
  namespace: after.object.metadata.name,
  workload: undefined,
  isIngress: false,
  future: undefined,
  asked: new Asked(was, at.applied),
  coverageBefore: () => before.mesh.get(authorization, before.object).ofWorkload(workload),
  coverageAfter: () => at.coverage(),
});
