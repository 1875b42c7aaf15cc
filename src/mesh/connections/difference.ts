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
import { type Accepted, type Access, type Routed, type Status, setsOf, statuses, type Way } from "./access.ts";
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

/** A change for requests of some callers of one port. */
export interface AccessChange extends CallersRequests {
  /** In which ways of sending; empty: in every way in which these callers send. */
  readonly ways: readonly Way[];
  readonly change: StatusChange | RouteChange;
}

interface Changed {
  readonly change: StatusChange | RouteChange;
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
  const what = change.kind === "status" ? [change.from ?? "", change.to ?? ""] : [change.from.key, change.to.key];
  return JSON.stringify([change.kind, what, keyOfSet(callers), keyOfSet(requests)]);
};

type Pair = readonly [before: Accepted, after: Accepted];

/** What is compared: everything, or each way of sending with what it was before. */
function layerPairs(before: Access, after: Access, work: Work): readonly Pair[] {
  const [was, is] = [before.whole(work), after.whole(work)];
  if (was !== undefined && is !== undefined) return [[was, is]];
  const pairs = new Map<string, Pair>();
  const add = (old: Accepted, now: Accepted) => pairs.set(`${old.way?.key}\0${now.way?.key}`, [old, now]);
  for (const now of after.byWay(work))
    for (const old of partnersOf(now, before.byWay(work), work)) add(limited(old, now, work), now);
  for (const old of before.byWay(work))
    for (const now of partnersOf(old, after.byWay(work), work)) add(old, limited(now, old, work));
  return [...pairs.values()];
}

/** The ways in which the same callers send on the other side: with the same workloads, else through the same data plane. */
function partnersOf({ way, callers }: Accepted, others: readonly Accepted[], work: Work): readonly Accepted[] {
  const own = new Set(way?.workloads);
  const sameCallers = others.filter((other) => both(callers, other.callers, work).length > 0);
  const sharing = sameCallers.filter((other) => other.way?.workloads.some((workload) => own.has(workload)));
  if (sharing.length > 0) return sharing;
  const alike = sameCallers.filter((other) => other.way?.sender === way?.sender);
  if (alike.length > 0) return alike;
  return sameCallers.length > 0 ? sameCallers : [{ ...nothing, callers }];
}

const nothing: Accepted = {
  way: undefined,
  callers: noRequests,
  sets: setsOf(() => noRequests),
  partly: noRequests,
  routes: [],
};

/** What is accepted of the callers of the other side only. */
function limited(one: Accepted, { callers }: Accepted, work: Work): Accepted {
  const of = (set: RequestSet) => both(set, callers, work);
  return {
    ...one,
    callers: of(one.callers),
    sets: setsOf((status) => of(one.sets[status])),
    routes: one.routes.map((route) => ({ ...route, requests: of(route.requests) })),
  };
}

const changesBetween = (was: Accepted, is: Accepted, work: Work): readonly Changed[] => [
  ...statusChanges(was, is, work),
  ...routeChanges(was, is, work),
];

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
