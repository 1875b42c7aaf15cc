import { everyRequest, type Request } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { anything } from "../authorization/requests/patterns.ts";
import { type Part, Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { AnyObject } from "../../kube/object.ts";
import { type CallerName, formatCallerName, type UnknownCaller } from "../requests/caller-names.ts";
import { conditionsOf } from "../requests/written-requests.ts";
import { callerIn, type Entry, type Intent } from "./intents.ts";

/** Two entries of an intent that expect the opposite of the same request. */
export interface Contradiction {
  readonly earlier: number;
  readonly later: number;
  /** A request that both claim, and who sends it. */
  readonly request: Request;
  readonly caller: CallerName;
  /** The workloads or gateways whose service accounts show it; empty: the names alone do. */
  readonly through: readonly AnyObject[];
}

/** The service accounts with which a workload or a gateway runs, as identities, and the objects that say so. */
export interface Running {
  readonly identities: readonly (readonly Part[])[];
  readonly objects: readonly AnyObject[];
}
/** Undefined: not known. */
export type RunningOf = (caller: CallerName) => Running | undefined;

type Named = CallerName | UnknownCaller;

/** Pairs of entries that cannot both be met; nothing, where a review can pause. Throws Undecided if that takes too much work. */
export function* contradictionsIn(
  intent: Intent,
  runningOf: RunningOf,
  work: Work,
): Generator<Contradiction | undefined, undefined> {
  const all = intent.spec.requests.map((entry) => ({
    entry,
    callers: entry.from.map((text) => callerIn(intent, text)),
    conditions: conditionsOf(entry),
  }));
  for (const [later, second] of all.entries())
    for (const [earlier, first] of all.slice(0, later).entries()) {
      if (!areOpposite(first.entry, second.entry)) continue;
      const found = claimedByBoth([first, second], runningOf, work);
      yield found && { earlier, later, ...found };
    }
}

/** What has to arrive cannot be denied, and cannot be routed to other destinations only. Encryption can be expected of both. */
function areOpposite(first: Entry, second: Entry): boolean {
  if (first.expect === "routed" && second.expect === "routed") return areApart(first.destinations, second.destinations);
  return [first.expect, second.expect].sort().join() === "allowed,denied";
}

/** Whether no destination can be in both lists, as far as their words tell: one service or the default, and another subset. */
function areApart(first: Entry["destinations"], second: Entry["destinations"]): boolean {
  const isOther = (one: Entry["destinations"][number], other: Entry["destinations"][number]) =>
    one.service === other.service &&
    one.subset !== undefined &&
    other.subset !== undefined &&
    one.subset !== other.subset;
  return first.length > 0 && second.length > 0 && first.every((one) => second.every((other) => isOther(one, other)));
}

interface Claim {
  readonly entry: Entry;
  readonly callers: readonly Named[];
  readonly conditions: Clauses;
}

function claimedByBoth(
  [first, second]: readonly [Claim, Claim],
  runningOf: RunningOf,
  work: Work,
): Omit<Contradiction, "earlier" | "later"> | undefined {
  for (const one of first.callers)
    for (const other of second.callers) {
      work.spend(1);
      const callers = inBoth(one, other, runningOf);
      if (callers === undefined) continue;
      const conditions = [...callers.identity, ...first.conditions, ...second.conditions];
      const request = everyRequest.withAll(conditions, work)?.example;
      if (request !== undefined) return { request, caller: callers.caller, through: callers.through };
    }
  return undefined;
}

interface Callers extends Pick<Contradiction, "caller" | "through"> {
  readonly identity: Clauses;
}

/**
 * The callers that both names stand for, as far as the names and the service accounts tell; undefined: none. Nobody whom another
 * entry names is one of the others.
 */
function inBoth(one: Named, other: Named, runningOf: RunningOf): Callers | undefined {
  if (!isSomebody(one) || !isSomebody(other)) return undefined;
  const caller = breadth[one.kind] <= breadth[other.kind] ? one : other;
  const byName = relatedByName(one, other);
  if (byName !== undefined) return byName ? { caller, identity: [], through: [] } : undefined;
  const [first, second] = [identityOf(one, runningOf), identityOf(other, runningOf)];
  if (first === undefined || second === undefined) return undefined;
  return { caller, identity: [...first.clauses, ...second.clauses], through: [...first.through, ...second.through] };
}

/** Whether some caller has both names; undefined: the names alone do not tell. */
function relatedByName(one: CallerName, other: CallerName): boolean | undefined {
  const [kinds, first, second] = [new Set([one.kind, other.kind]), isRunning(one), isRunning(other)];
  // Two workloads are two callers, whatever service account both have.
  if (kinds.size === 1 && first) return isSameOrPart(one, other);
  return (second && isWithin(one, other)) || (first && isWithin(other, one)) ? true : undefined;
}

const isRunning = ({ kind }: CallerName): boolean => kind === "workload" || kind === "ingress";
const isSomebody = (caller: Named): caller is CallerName => caller.kind !== "unknown" && caller.kind !== "others";

/** The same workload, or gateways of one name among those of the namespace and among all. */
function isSameOrPart(one: CallerName, other: CallerName): boolean {
  if (one.kind === "workload" && other.kind === "workload") {
    const isKind = [one.originKind, other.originKind].includes(undefined) || one.originKind === other.originKind;
    return isKind && one.namespace === other.namespace && one.name === other.name;
  }
  const [a, b] = [formatCallerName(one), formatCallerName(other)];
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}

/** Whether a workload or a gateway is in the mesh or in a namespace, by its name. */
const isWithin = (whole: CallerName, part: CallerName): boolean =>
  whole.kind === "mesh" ||
  (whole.kind === "namespace" && part.kind === "workload" && part.namespace === whole.namespace);

const breadth = { workload: 0, ingress: 0, serviceAccount: 1, namespace: 2, outside: 3, mesh: 3, others: 4 } as const;

interface Identity extends Pick<Contradiction, "through"> {
  readonly clauses: Clauses;
}

/** What the certificates of callers say; undefined: that is not known. */
function identityOf(caller: CallerName, runningOf: RunningOf): Identity | undefined {
  const named = (identities: readonly (readonly Part[])[], through: readonly AnyObject[] = []): Identity => ({
    clauses: [{ attribute: "identity", values: new Texts(identities), not: false }],
    through,
  });
  switch (caller.kind) {
    case "serviceAccount":
      return named([[anything, caller.namespace, caller.name]]);
    case "namespace":
      return named([[anything, caller.namespace, anything]]);
    case "mesh":
      return { clauses: [{ attribute: "identity", values: absent, not: true }], through: [] };
    case "outside":
      return { clauses: [{ attribute: "identity", values: absent, not: false }], through: [] };
    default: {
      const running = runningOf(caller);
      return running && named(running.identities, running.objects);
    }
  }
}
