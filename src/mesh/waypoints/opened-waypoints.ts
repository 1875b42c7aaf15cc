import type { MeshView } from "../../view/view.ts";
import { type Coverage, noCoverage } from "../authorization/coverage.ts";
import { authorization, hasDefaultDeny } from "../authorization/effective-authorization.ts";
import { gatewaysOfNamespace } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace, workloadEntriesOfNamespace } from "../membership/workload-entries.ts";
import { isOwned, isProxy, workloadPairs, workloadsOfNamespace } from "../membership/workloads.ts";
import { formatLabels } from "../objects/selectors.ts";
import { formatWaypoint, namespaceOfGateway, type WaypointBinding, waypointBinding } from "./bindings.ts";
import { type Addressed, nameOfDestination, servingWaypoints, usedWaypoints } from "./served-traffic.ts";
import { coverageAt, waypointAt } from "./shared-waypoints.ts";
import { isUnusedWaypoint } from "./users.ts";

/** A namespace, and what requests can be sent to in it. */
export const destinations = [
  servicesOfNamespace,
  selectingEntriesOfNamespace,
  workloadsOfNamespace,
  workloadEntriesOfNamespace,
] as const;

/** What `openedWaypoints` reads. */
export const readsOpenedWaypoints = [
  authorization,
  workloadsOfNamespace,
  workloadEntriesOfNamespace,
  servicesOfNamespace,
  selectingEntriesOfNamespace,
  gatewaysOfNamespace,
  namespaceOfGateway,
  servingWaypoints,
  waypointBinding,
  isUnusedWaypoint,
] as const;

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsOpenedWaypoints)[number]>;
}

/** What `concernedDestinations` reads. */
export const readsConcerned = [...destinations, gatewaysOfNamespace, waypointBinding, servingWaypoints] as const;
interface ComparedSide {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof readsConcerned)[number]>;
}

/** Objects of one kind that may be reached in another way after a change, and what they were before it. */
interface Concerned {
  readonly now: readonly Addressed[];
  was(one: Addressed): Addressed | undefined;
}

/** Those that are new or changed; all of them, if the namespace or its gateways change; those with a label of their own in any case. */
export function concernedDestinations(before: ComparedSide, after: ComparedSide): readonly Concerned[] {
  const isSame = before.object === after.object && isSameList(gatewaysSeen(before), gatewaysSeen(after));
  const serving = after.mesh.get(servingWaypoints, after.object);
  const isSameServing = before.mesh.get(servingWaypoints, before.object) === serving;
  return destinations.flatMap((relation): readonly Concerned[] => {
    const [old, all] = [before, after].map(({ object, mesh }): readonly Addressed[] => mesh.related(relation, object));
    if (old === undefined || all === undefined || (old === all && isSame && isSameServing)) return [];
    const known = new Set(old);
    const isConcerned = (one: Addressed) => !known.has(one) || serving.labelled(one.kind).has(nameOfDestination(one));
    let former: ReadonlyMap<Addressed, Addressed> | undefined;
    const now = isSame ? all.filter(isConcerned) : all;
    return [{ now, was: (one) => (former ??= formerOf(now, old)).get(one) }];
  });
}

/**
 * The names of the waypoints without a default deny through which a Service, a ServiceEntry, a pod or a WorkloadEntry is reached since the
 * change, where it is new, leads to other pods, or was reached through none of them, and of those that nothing used before. The pods may be
 * those of other Services, which policies protect, and ztunnel lets the waypoint in.
 */
export function openedWaypoints(before: Side, after: Side): ReadonlySet<string> {
  const opened = concernedDestinations(before, after).flatMap((concerned) => [...openedFor(concerned, before, after)]);
  return new Set([...opened, ...usedSince(before, after)]);
}

/** The waypoints that labels of the namespace can name, in the namespace and elsewhere. */
const gatewaysSeen = ({ object, mesh }: ComparedSide) => [
  ...mesh.related(gatewaysOfNamespace, object),
  mesh.get(waypointBinding, object)?.gateway,
];

const isSameList = <T>(old: readonly T[], now: readonly T[]): boolean =>
  old.length === now.length && old.every((one, i) => one === now[i]);

function* openedFor({ now, was }: Concerned, before: Side, after: Side): Iterable<string> {
  for (const one of now) {
    const open = openWaypointsOf(one, after);
    if (open.length === 0) continue;
    const former = was(one);
    if (former === undefined || !isOpenAlready(former, one, open, before)) yield* open;
  }
}

/** What the objects were before. */
function formerOf(now: readonly Addressed[], old: readonly Addressed[]): ReadonlyMap<Addressed, Addressed> {
  const workloads = (all: readonly Addressed[]) => all.filter((one) => one.kind === "Workload");
  const named = new Map(old.map((one) => [nameOfDestination(one), one]));
  const found = now.flatMap((one): (readonly [Addressed, Addressed])[] => {
    const was = one.kind === "Workload" ? undefined : named.get(nameOfDestination(one));
    return was === undefined ? [] : [[one, was]];
  });
  const pods = [...workloadPairs(workloads(old), workloads(now))].map(([was, is]) => [is, was] as const);
  return new Map<Addressed, Addressed>([...found, ...pods]);
}

/** Whether the same pods were reached through the same waypoint, or through another one without a default deny. */
function isOpenAlready(was: Addressed, one: Addressed, open: readonly string[], before: Side): boolean {
  if (was !== one && selectorOf(was) !== selectorOf(one)) return false;
  const used = waypointsOf(was, before).map((binding) => nameIn(binding, before.object));
  return open.every((name) => used.includes(name)) || openWaypointsOf(was, before).length > 0;
}

/** The labels by which pods are behind it; those that are reached by their own address are the same ones. */
function selectorOf(one: Addressed): string {
  if (one.kind === "Service") return formatLabels(one.spec.selector);
  return one.kind === "ServiceEntry" ? formatLabels(one.spec.workloadSelector?.labels ?? {}) : "";
}

/** The names of the waypoints through which it is reached, and where neither a policy for the waypoint nor one for it denies by default. */
const openWaypointsOf = (one: Addressed, side: Side): readonly string[] =>
  waypointsOf(one, side).flatMap((binding) =>
    hasDefaultDeny(coverageOf(one, binding, side)) ? [] : nameIn(binding, side.object),
  );

/** The pods in which gateways and waypoints run are none that policies protect, and those that a workload owns are its own. */
export function waypointsOf(one: Addressed, { object, mesh }: ComparedSide): readonly WaypointBinding[] {
  if (one.kind === "Workload" && (isProxy(one) || isOwned(one))) return [];
  return usedWaypoints(mesh.get(servingWaypoints, object).ofNamed(one.kind, nameOfDestination(one)));
}

function coverageOf(one: Addressed, binding: WaypointBinding, { object, mesh }: Side): Coverage {
  const at = waypointAt(binding, object, mesh);
  return at === undefined ? noCoverage : coverageAt(one, object, at, mesh);
}

const nameIn = ({ named }: WaypointBinding, { metadata }: Namespace): string =>
  named.namespace === metadata.name ? named.name : formatWaypoint(named);

/** The names of the waypoints of the namespace that something uses only since the change. */
function* usedSince(before: Side, after: Side): Iterable<string> {
  const old = unusedWaypoints(before);
  if (old.size === 0) return;
  const now = unusedWaypoints(after);
  for (const name of old) if (!now.has(name)) yield name;
}

/** The names of the waypoints of the namespace that are those of nothing, so that the policies may still follow. */
export const unusedWaypoints = ({ object, mesh }: Side): ReadonlySet<string> =>
  new Set(
    mesh
      .related(gatewaysOfNamespace, object)
      .filter((gateway) => mesh.get(isUnusedWaypoint, gateway))
      .map(({ metadata }) => metadata.name),
  );
