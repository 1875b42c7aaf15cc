import {
  both,
  keyOfSet,
  noRequests,
  type RequestSet,
  separated,
  simplified,
  union,
  without,
} from "../authorization/requests/sets.ts";
import type { Work } from "../authorization/requests/work.ts";
import {
  type Accepted,
  type Access,
  leadsNowhere,
  type Routed,
  type Status,
  setsOf,
  statuses,
  type Way,
} from "./access.ts";
import { byCallers, type CallersRequests } from "./callers.ts";

/** Requests whose outcome a change changes. Undefined: they were, or are, not accepted. */
interface StatusChange {
  readonly kind: "status";
  readonly from: Status | undefined;
  readonly to: Status | undefined;
}

/** Requests that are accepted before and after a change, and go to other destinations, or with other shares. */
interface RouteChange {
  readonly kind: "route";
  readonly from: Routed;
  readonly to: Routed;
}

/** Requests that are accepted before and after a change, of which some destinations or pods refuse some now, or no longer do. */
interface PartlyChange {
  readonly kind: "partly";
  readonly isNow: boolean;
}

type Change = StatusChange | RouteChange | PartlyChange;

/** A change for requests of some callers of one port. */
export interface AccessChange extends CallersRequests {
  /** In which ways of sending; empty: in every way in which these callers send. */
  readonly ways: readonly Way[];
  readonly change: Change;
}

interface Changed {
  readonly change: Change;
  /** With the identities of the callers. */
  readonly set: RequestSet;
}

/**
 * What a change does to the requests that reach a port. Empty: the same requests of the same callers arrive in the same way,
 * whatever the policies look like that say so. Throws Undecided if that takes too much work to know.
 */
export function accessChanges(before: Access, after: Access, work: Work): readonly AccessChange[] {
  if (before.key === after.key) return [];
  const rows = layerPairs(before, after, work).flatMap(([was, is]) => {
    const way = is.way ?? was.way;
    return changesBetween(was, is, work).flatMap(({ change, set }) =>
      byCallers(set, work).map((one): AccessChange => ({ ...one, ways: way === undefined ? [] : [way], change })),
    );
  });
  return [...Map.groupBy(rows, keyOf).values()].flatMap((same) =>
    same.slice(0, 1).map((row) => ({ ...row, ways: same.flatMap(({ ways }) => ways) })),
  );
}

const keyOf = ({ callers, requests, change }: AccessChange): string => {
  return JSON.stringify([change.kind, whatChanges(change), keyOfSet(callers), keyOfSet(requests)]);
};

function whatChanges(change: Change): readonly unknown[] {
  if (change.kind === "partly") return [change.isNow];
  return change.kind === "status" ? [change.from ?? "", change.to ?? ""] : [change.from.key, change.to.key];
}

type Pair = readonly [before: Accepted, after: Accepted];

/** What is compared: everything, or each way of sending with what it was before, each for the callers that both have. */
function layerPairs(before: Access, after: Access, work: Work): readonly Pair[] {
  const [was, is] = [before.whole(work), after.whole(work)];
  if (was !== undefined && is !== undefined) return [[was, is]];
  const pairs = new Map<string, Pair>();
  const add = (old: Accepted, now: Accepted, callers: RequestSet) =>
    pairs.set(`${old.way?.key}\0${now.way?.key}\0${keyOfSet(callers)}`, [
      limited(old, callers, work),
      limited(now, callers, work),
    ]);
  for (const now of after.byWay(work))
    for (const { partner, callers } of partnersOf(now, before.byWay(work), work)) add(partner, now, callers);
  for (const old of before.byWay(work))
    for (const { partner, callers } of partnersOf(old, after.byWay(work), work)) add(old, partner, callers);
  return [...pairs.values()];
}

interface Partner {
  readonly partner: Accepted;
  /** Of those that send in both ways. */
  readonly callers: RequestSet;
}

/**
 * The ways in which the same callers send on the other side: with the same workloads, else through the same data plane, else in any
 * way. The two sides can divide callers differently, so that some of them have another partner than others, or none.
 */
function partnersOf({ way, callers }: Accepted, others: readonly Accepted[], work: Work): readonly Partner[] {
  const own = new Set(way?.workloads);
  const closest: readonly ((other: Accepted) => boolean)[] = [
    (other) => other.way?.workloads.some((workload) => own.has(workload)) === true,
    (other) => other.way?.sender === way?.sender,
    () => true,
  ];
  const found: Partner[] = [];
  let left = callers;
  for (const isClose of closest) {
    const some = others
      .filter(isClose)
      .map((partner): Partner => ({ partner, callers: both(left, partner.callers, work) }))
      .filter((one) => one.callers.length > 0);
    found.push(...some);
    left = some.reduce((rest: RequestSet, { partner }) => without(rest, partner.callers, work), left);
  }
  return left.length === 0 ? found : [...found, { partner: { ...nothing, callers: left }, callers: left }];
}

const nothing: Accepted = {
  way: undefined,
  callers: noRequests,
  sets: setsOf(() => noRequests),
  partly: noRequests,
  routes: [],
};

/** What is accepted of these callers only. */
function limited(one: Accepted, callers: RequestSet, work: Work): Accepted {
  const of = (set: RequestSet) => both(set, callers, work);
  return {
    ...one,
    callers: of(one.callers),
    sets: setsOf((status) => of(one.sets[status])),
    partly: of(one.partly),
    routes: one.routes.map((route) => ({ ...route, requests: of(route.requests) })),
  };
}

function changesBetween(was: Accepted, is: Accepted, work: Work): readonly Changed[] {
  const routes = routeChanges(was, is, work);
  const saysSo = (from: Routed, to: Routed) =>
    to.destinations.some(leadsNowhere) && !from.destinations.some(leadsNowhere);
  const told = (isNow: boolean) =>
    routes.flatMap(({ change, set }) => {
      if (change.kind !== "route") return [];
      return (isNow ? saysSo(change.from, change.to) : saysSo(change.to, change.from)) ? set : [];
    });
  return [
    ...statusChanges(was, is, work),
    ...routes,
    ...partlyChanges(true, [was, is], told(true), work),
    ...partlyChanges(false, [is, was], told(false), work),
  ];
}

/** Of two sides, the second one refuses some of what the first one accepts as a whole. `told`: routes say so already. */
function partlyChanges(
  isNow: boolean,
  [whole, some]: readonly [Accepted, Accepted],
  told: RequestSet,
  work: Work,
): readonly Changed[] {
  const more = some.partly.length === 0 ? noRequests : without(without(some.partly, whole.partly, work), told, work);
  if (more.length === 0) return [];
  const set = both(more, allOf({ ...whole.sets, undecided: noRequests }), work);
  return set.length === 0 ? [] : [{ change: { kind: "partly", isNow }, set: simplified(set, work) }];
}

function statusChanges({ sets: was }: Accepted, { sets: is }: Accepted, work: Work): readonly Changed[] {
  const [old, now] = [allOf(was), allOf(is)];
  const changed = (from: Status | undefined, to: Status | undefined, set: RequestSet): readonly Changed[] =>
    set.length === 0 ? [] : [{ change: { kind: "status", from, to }, set: simplified(set, work) }];
  return [
    ...statuses.flatMap((to) => changed(undefined, to, without(is[to], old, work))),
    ...statuses.flatMap((from) => changed(from, undefined, without(was[from], now, work))),
    ...statuses.flatMap((from) =>
      statuses.flatMap((to) => (from === to ? [] : changed(from, to, moved([was, is], [from, to], work)))),
    ),
  ];
}

type Sets = Accepted["sets"];
const allOf = (sets: Sets): RequestSet =>
  statuses.reduce((all: RequestSet, status) => union(all, sets[status]), noRequests);

/** The requests that had only one status of the two, and have only the other one now. */
function moved([was, is]: readonly [Sets, Sets], [from, to]: readonly [Status, Status], work: Work): RequestSet {
  if (was[from].length === 0 || is[to].length === 0) return noRequests;
  const left = without(was[from], is[from], work);
  return left.length === 0 ? noRequests : both(left, without(is[to], was[to], work), work);
}

/** Requests that one side does not accept can be among those of a change, if that makes it simpler. */
function routeChanges(was: Accepted, is: Accepted, work: Work): readonly Changed[] {
  const pairs = was.routes.flatMap((from) =>
    is.routes.map((to) => ({ from, to, set: both(from.requests, to.requests, work) })),
  );
  return pairs.flatMap((pair): readonly Changed[] => {
    const { from, to, set } = pair;
    if (from.key === to.key || set.length === 0) return [];
    const others = pairs.flatMap((other) => (other === pair ? [] : other.set));
    return [{ change: { kind: "route", from, to }, set: separated(set, others, work) }];
  });
}
