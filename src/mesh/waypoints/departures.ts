import type { MeshView } from "../../view/view.ts";
import { isTerminating, type Namespace } from "../membership/namespaces.ts";
import { waypointClass } from "../objects/labels.ts";
import { isUsable, type WaypointBinding } from "./bindings.ts";
import type { EnforcedPolicies, WaypointPolicy } from "./enforced-policies.ts";
import { type GuardedTraffic, type WaypointGuards, waypointGuards } from "./guarded-traffic.ts";
import type { Destination } from "./served-traffic.ts";

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof waypointGuards>;
}

/** Requests that policies at a waypoint restricted, and restrict no longer, or less. */
export interface Departure {
  readonly was: GuardedTraffic & { readonly binding: WaypointBinding };
  readonly is: GuardedTraffic;
  /** Whether the same waypoint still serves them, with other policies. */
  readonly isStaying: boolean;
  /** Whether only the requests of ingress gateways leave the waypoint. */
  readonly isOfIngress: boolean;
  /** Only a share of the connections goes to the other waypoint, which is a canary. */
  readonly isShare?: true;
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
    const isOwn = old.labelled(kind).has(name) || now.labelled(kind).has(name) || isShared(was);
    // The policies of the waypoint itself are compared for all objects without a label at once.
    yield* isOwn ? departure(was, is) : departure(targetingOnly(was), targetingOnly(is));
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
  for (const kind of ["Service", "ServiceEntry", "Workload"] as const) {
    const targeted = kind === "Workload" ? [] : old.targeted(kind);
    for (const name of new Set([...old.labelled(kind), ...now.labelled(kind), ...targeted])) yield [kind, name];
  }
}

function* departure(traffic: GuardedTraffic, is: GuardedTraffic): Iterable<Departure> {
  const { binding } = traffic;
  if (!isUsable(binding)) return;
  const was = { ...traffic, binding };
  if (isSameWaypoint(binding, is.binding)) {
    yield* ingressDeparture(was, is);
    yield* canaryDeparture(was, is);
    // The policies of Services that stay, and those of a waypoint of the namespace, are compared elsewhere.
    if (was.kind === "ServiceEntry") yield* policiesGone(was, is);
    else if (isShared(was)) yield* policiesGoneAtShared(was, is);
    return;
  }
  const loss = lossOf(was.policies, isServedBy(is.binding, binding) ? is.policies : []);
  if (loss.lost !== undefined || loss.wider !== undefined)
    yield { was, is, isStaying: false, isOfIngress: false, ...loss };
}

function* policiesGone(was: Departure["was"], is: GuardedTraffic): Iterable<Departure> {
  const loss = lossOf(was.policies.slice(0, 1), is.policies.slice(0, 1));
  if (loss.lost !== undefined || loss.isOpened) yield { was, is, isStaying: true, isOfIngress: false, ...loss };
}

/** Whether the waypoint is in another namespace, where its policies are, too. */
const isShared = ({ binding, namespace }: GuardedTraffic): boolean =>
  binding !== undefined && binding.named.namespace !== namespace;

/** The policies that target the object itself count as unchanged. */
function* policiesGoneAtShared(was: Departure["was"], is: GuardedTraffic): Iterable<Departure> {
  const targeting = was.policies.slice(0, -2);
  const loss = lossOf(was.policies, [...targeting, ...is.policies.slice(-2)]);
  if (loss.lost !== undefined || loss.isOpened) yield { was, is, isStaying: true, isOfIngress: false, ...loss };
}

function* ingressDeparture(was: Departure["was"], is: GuardedTraffic): Iterable<Departure> {
  if (!was.isForIngress || is.isForIngress) return;
  const { lost } = lossOf(was.policies, []);
  if (lost === undefined) return;
  yield { was, is, isStaying: true, isOfIngress: true, lost, wider: undefined, isOpened: false };
}

/** A canary that receives connections and enforces other policies. One that already did is not compared. */
function* canaryDeparture(was: Departure["was"], is: GuardedTraffic): Iterable<Departure> {
  const { canary } = is;
  if (canary === undefined || !isUsable(canary.binding)) return;
  if (was.canary !== undefined && isSameWaypoint(canary.binding, was.canary.binding)) return;
  const loss = lossOf(was.policies, canary.policies);
  if (loss.lost !== undefined || loss.wider !== undefined)
    yield { was, is: { ...is, ...canary }, isStaying: false, isOfIngress: false, isShare: true, ...loss };
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
  was.gateway?.spec.gatewayClassName === waypointClass &&
  is.gateway !== undefined &&
  is.gateway.spec.gatewayClassName !== waypointClass;

type Lists = readonly EnforcedPolicies[];

const isAmong = (policy: WaypointPolicy, lists: Lists): boolean => lists.some((list) => list.has(policy));

/** The first of the policies in each list that the others do not have. */
function firstBeyond(lists: Lists, of: "allowing" | "refusing", others: Lists): WaypointPolicy | undefined {
  for (const list of lists) for (const policy of list[of]) if (!isAmong(policy, others)) return policy;
  return undefined;
}

/**
 * What the policies of `before` restrict and those of `after` do not. An ALLOW policy that goes while another one of
 * `before` remains allows fewer callers, unless `after` adds one.
 */
function lossOf(before: Lists, after: Lists): Pick<Departure, "lost" | "wider" | "isOpened"> {
  if (after.some(({ isSealed }) => isSealed)) return { lost: undefined, wider: undefined, isOpened: false };
  const refusing = firstBeyond(before, "refusing", after);
  if (!areClosed(before)) return { lost: refusing, wider: undefined, isOpened: false };
  const opening = openingOf(after);
  const wider = opening ?? firstBeyond(after, "allowing", before);
  const isNarrower = wider === undefined && areClosed(after);
  const lost = isNarrower ? refusing : (firstBeyond(before, "allowing", after) ?? refusing);
  return { lost, wider, isOpened: opening !== undefined };
}

const openingOf = (lists: Lists): WaypointPolicy | undefined =>
  lists.find(({ opening }) => opening !== undefined)?.opening;
/** Whether ALLOW policies deny by default. */
const areClosed = (lists: Lists): boolean =>
  openingOf(lists) === undefined && lists.some(({ allowing }) => allowing.length > 0);
