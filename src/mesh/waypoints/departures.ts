import type { MeshView } from "../../view/view.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { isAwaited, isUsable, type WaypointBinding } from "./bindings.ts";
import type { EnforcedPolicies, WaypointPolicy } from "./enforced-policies.ts";
import {
  type GuardedTraffic,
  type GuardedWay,
  usedWays,
  type WaypointGuards,
  waypointGuards,
} from "./guarded-traffic.ts";
import { goneDestinations } from "./gone-destinations.ts";
import { type Destination, destinationKinds, type servingWaypoints } from "./served-traffic.ts";

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof waypointGuards | typeof servingWaypoints>;
}

/** Requests that policies at a waypoint restricted, and restrict no longer, or less. */
export interface Departure {
  readonly was: GuardedTraffic & { readonly binding: WaypointBinding };
  readonly is: GuardedTraffic;
  /** Whether the same waypoint still serves them, with other policies. */
  readonly isStaying: boolean;
  /** Whether only the requests of ingress gateways leave the waypoint. */
  readonly isOfIngress: boolean;
  /** Only a share of the connections goes to the other waypoint: as the canary of the one before, or beside another one. */
  readonly share?: "canary" | "other";
  /** The waypoint that they leave served only a share of the connections, and the policies of the first one are all there. */
  readonly isOfShare?: boolean;
  /** The ServiceEntry or the WorkloadEntry is gone, or these hosts of it. */
  readonly gone?: "object" | readonly string[];
  /** A policy that no longer applies to them, the one whose loss matters most; undefined: none, but `wider` is added. */
  readonly lost: WaypointPolicy | undefined;
  /** An ALLOW policy at the new waypoint that did not apply before, so that it may allow more callers. */
  readonly wider: WaypointPolicy | undefined;
  /** The added policy allows everyone. */
  readonly isOpened: boolean;
}

/**
 * The traffic of a namespace that a change takes away from policies at its waypoint: to Services and ServiceEntries, and to
 * the addresses of pods. If labels of the namespace or its waypoint change, objects without a label of their own are one
 * departure, and each object that a policy targets is another. Policies that change in place are not compared, except
 * those that nothing else compares: those of a ServiceEntry, and those of a waypoint in another namespace.
 */
export function* departures(before: Side, after: Side): Iterable<Departure> {
  if (isTerminating(before.object) || isGone(before.object, after.object)) return;
  const old = before.mesh.get(waypointGuards, before.object);
  if (old.areNone) return;
  const now = after.mesh.get(waypointGuards, after.object);
  yield* unlabelledDepartures(old, now);
  for (const [kind, name] of namedOn(old, now)) {
    const [was, is] = [old.ofNamed(kind, name), now.ofNamed(kind, name)];
    if (was === undefined || is === undefined) continue;
    const isOwn = old.labelled(kind).has(name) || now.labelled(kind).has(name) || isAnyShared(was);
    // The policies of the waypoint itself are compared for all objects without a label at once.
    yield* isOwn ? departure(was, is) : departure(targetingOnly(was), targetingOnly(is));
  }
  yield* goneDepartures(before, after, old);
}

/** Requests to what is no destination of the mesh any more go past every waypoint. */
function* goneDepartures(before: Side, after: Side, old: WaypointGuards): Iterable<Departure> {
  for (const { was: traffic, name, hosts } of goneDestinations(before, after)) {
    const was = old.of(traffic, name);
    const is = { ...was, binding: undefined, canary: undefined };
    for (const found of wayDepartures(was, usedWays(was), is)) yield { ...found, gone: hosts ?? "object" };
  }
}

/** Whether the namespace is deleted: the view contains an implied one as long as there are objects in it. */
export const isGone = (old: Namespace, now: Namespace): boolean =>
  isTerminating(now) || (now.implied === true && old.implied !== true);

function* unlabelledDepartures(old: WaypointGuards, now: WaypointGuards): Iterable<Departure> {
  for (const kind of ["Service", "Workload"] as const)
    for (const found of departure(old.ofUnlabelled(kind), now.ofUnlabelled(kind)))
      if (old.hasUnlabelled(kind) && now.hasUnlabelled(kind)) yield found;
}

const targetingOnly = (traffic: GuardedTraffic): GuardedTraffic => ({
  ...traffic,
  policies: traffic.policies.slice(0, 1),
  canary: traffic.canary && { ...traffic.canary, policies: traffic.canary.policies.slice(0, 1) },
});

/** The objects that have a label of their own on either side, or that policies target before the change. */
function* namedOn(old: WaypointGuards, now: WaypointGuards): Iterable<readonly [Destination["kind"], string]> {
  for (const kind of destinationKinds) {
    const targeted = kind === "Service" || kind === "ServiceEntry" ? old.targeted(kind) : [];
    for (const name of new Set([...old.labelled(kind), ...now.labelled(kind), ...targeted])) yield [kind, name];
  }
}

function* departure(old: GuardedTraffic, next: GuardedTraffic): Iterable<Departure> {
  const ways = usedWays(old);
  const stays = ({ binding }: GuardedWay) => ways.find((way) => isSameWaypoint(way.binding, binding));
  const served = ways.map(({ binding }) => binding);
  const now = isAwaitedAnew(next.binding, served) ? withoutWaypoint(next) : next;
  const waysNow = usedWays(now);
  const [first] = ways;
  if (first === undefined) return;
  if (waysNow.some((way) => stays(way) !== undefined)) yield* ingressDeparture(old, ways, now);
  if (waysNow.length === 0) yield* wayDepartures(old, ways, now);
  for (const way of waysNow) {
    const same = stays(way);
    const is = { ...now, ...way };
    if (same === undefined) yield* wayDepartures(old, ways, is, shareOf(first, way, waysNow));
    // The policies of Services that stay, and those of a waypoint of the namespace, are compared elsewhere.
    else yield* policiesGone({ ...old, ...same }, is);
  }
}

/**
 * Whether a waypoint has no address yet and is none of those that served the traffic before, so that ztunnel sends it past the waypoint. One
 * that is named already is taken to serve, whatever its status says.
 */
export const isAwaitedAnew = (binding: WaypointBinding | undefined, served: readonly WaypointBinding[]): boolean =>
  isUsable(binding) &&
  binding.gateway !== undefined &&
  isAwaited(binding.gateway) &&
  !served.some((was) => isSameWaypoint(was, binding));

const withoutWaypoint = (traffic: GuardedTraffic): GuardedTraffic => ({
  ...traffic,
  binding: traffic.binding && { ...traffic.binding, trouble: "not ready" },
});

/** Which share of the connections goes a new way; undefined: all. */
function shareOf(was: GuardedWay, way: GuardedWay, waysNow: readonly GuardedWay[]): Departure["share"] {
  const [first, second] = waysNow;
  if (first === undefined || second === undefined) return undefined;
  return way === second && isSameWaypoint(was.binding, first.binding) ? "canary" : "other";
}

/**
 * Another waypoint, or none, compared with each waypoint that served. Whoever got in at the first one got in, so what only the others
 * refused is a loss for a share of the connections.
 */
function* wayDepartures(
  old: GuardedTraffic,
  ways: readonly GuardedWay[],
  is: GuardedTraffic,
  share?: Departure["share"],
): Iterable<Departure> {
  const known = ways.flatMap(({ policies }) => policies);
  const reported = new Set<WaypointPolicy | undefined>([undefined]);
  for (const [i, way] of ways.entries()) {
    const loss = lossOf(way.policies, isServedBy(is.binding, way.binding) ? is.policies : [], known);
    if (reported.has(loss.lost) && (i > 0 || loss.wider === undefined)) continue;
    reported.add(loss.lost);
    const kind = { isStaying: false, isOfIngress: false, ...(share === undefined ? {} : { share }) };
    yield { was: { ...old, ...way }, is, ...kind, ...loss, ...(i > 0 ? { isOfShare: true } : {}) };
  }
}

/** Whether the waypoint is in another namespace, where its policies are, too. */
const isShared = ({ binding, namespace }: Pick<GuardedTraffic, "binding" | "namespace">): boolean =>
  binding !== undefined && binding.named.namespace !== namespace;

const isAnyShared = (traffic: GuardedTraffic): boolean =>
  usedWays(traffic).some(({ binding }) => isShared({ ...traffic, binding }));

/** At a waypoint that stays. Policies that target a Service count as unchanged, as do those of a waypoint of the namespace. */
function* policiesGone(was: Departure["was"], is: GuardedTraffic): Iterable<Departure> {
  const isOfEntry = was.kind === "ServiceEntry";
  if (!isOfEntry && !isShared(was)) return;
  const targetingFirst = was.object === undefined ? 0 : 1;
  const targetingWas = was.policies.slice(0, targetingFirst);
  const targetingIs = is.policies.slice(0, targetingFirst);
  const targeting = isOfEntry ? targetingIs : targetingWas.map((list, i) => list.readToo(targetingIs[i] ?? list));
  const atWaypoint = (isShared(was) ? is : was).policies.slice(targetingFirst);
  const loss = lossOf(was.policies, [...targeting, ...atWaypoint]);
  if (loss.lost !== undefined || loss.isOpened) yield { was, is, isStaying: true, isOfIngress: false, ...loss };
}

function* ingressDeparture(old: GuardedTraffic, ways: readonly GuardedWay[], is: GuardedTraffic): Iterable<Departure> {
  if (!old.isForIngress || is.isForIngress) return;
  const reported = new Set<WaypointPolicy>();
  for (const [i, way] of ways.entries()) {
    const { lost } = lossOf(way.policies, []);
    if (lost === undefined || reported.has(lost)) continue;
    reported.add(lost);
    const loss = { lost, wider: undefined, isOpened: false, ...(i > 0 ? { isOfShare: true } : {}) };
    yield { was: { ...old, ...way }, is, isStaying: true, isOfIngress: true, ...loss };
  }
}

const isServedBy = (is: WaypointBinding | undefined, was: WaypointBinding): boolean =>
  isUsable(is) && !isAnotherClass(was, is);

/** Whether both name the same Gateway, which still serves the traffic. Another class means another controller. */
const isSameWaypoint = (was: WaypointBinding, is: WaypointBinding | undefined): boolean =>
  isUsable(is) &&
  is.named.name === was.named.name &&
  is.named.namespace === was.named.namespace &&
  !isAnotherClass(was, is);

export const isAnotherClass = (was: WaypointBinding, is: WaypointBinding): boolean =>
  was.controller === "istiod" && is.gateway !== undefined && is.controller !== "istiod";

type Lists = readonly EnforcedPolicies[];

const isAmong = (policy: WaypointPolicy, lists: Lists): boolean => lists.some((list) => list.has(policy));

/** The first of the policies in each list that the others do not have. */
function firstBeyond(lists: Lists, of: "allowing" | "refusing", others: Lists): WaypointPolicy | undefined {
  for (const list of lists) for (const policy of list[of]) if (!isAmong(policy, others)) return policy;
  return undefined;
}

/**
 * What the policies of `before` restrict and those of `after` do not. An ALLOW policy that goes while another one of
 * `before` remains allows fewer callers, unless `after` adds one that is not `known` to have allowed them already.
 */
function lossOf(before: Lists, after: Lists, known: Lists = before): Pick<Departure, "lost" | "wider" | "isOpened"> {
  if (after.some(({ isSealed }) => isSealed)) return { lost: undefined, wider: undefined, isOpened: false };
  const refusing = firstBeyond(before, "refusing", after);
  if (!areClosed(before)) return { lost: refusing, wider: undefined, isOpened: false };
  const opening = openingOf(after);
  const wider = opening ?? firstBeyond(after, "allowing", known);
  const isNarrower = wider === undefined && areClosed(after);
  const lost = isNarrower ? refusing : (firstBeyond(before, "allowing", after) ?? refusing);
  return { lost, wider, isOpened: opening !== undefined };
}

const openingOf = (lists: Lists): WaypointPolicy | undefined =>
  lists.find(({ opening }) => opening !== undefined)?.opening;
/** Whether ALLOW policies deny by default. */
const areClosed = (lists: Lists): boolean =>
  openingOf(lists) === undefined && lists.some(({ allowing }) => allowing.length > 0);
