import { everyRequest, type Request } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { anything } from "../authorization/requests/patterns.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import type { Work } from "../authorization/requests/work.ts";
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
}

type Named = CallerName | UnknownCaller;

/** Pairs of entries that cannot both be met. Throws Undecided if it takes too much work to compare them. */
export function* contradictionsIn(intent: Intent, work: Work): Generator<Contradiction, undefined> {
  const all = intent.spec.requests.map((entry) => ({
    entry,
    callers: entry.from.map((text) => callerIn(intent, text)),
  }));
  for (const [later, second] of all.entries())
    for (const [earlier, first] of all.slice(0, later).entries()) {
      if (!areOpposite(first.entry, second.entry)) continue;
      const found = claimedByBoth(first, second, work);
      if (found !== undefined) yield { earlier, later, ...found };
    }
}

/** What has to arrive cannot be denied. Encryption and routes can be expected of both. */
const areOpposite = (first: Entry, second: Entry): boolean =>
  [first.expect, second.expect].sort().join() === "allowed,denied";

interface Claim {
  readonly entry: Entry;
  readonly callers: readonly Named[];
}

function claimedByBoth(first: Claim, second: Claim, work: Work): Pick<Contradiction, "request" | "caller"> | undefined {
  for (const one of first.callers)
    for (const other of second.callers) {
      work.spend(1);
      const callers = inBoth(one, other);
      if (callers === undefined) continue;
      const conditions = [...callers.identity, ...conditionsOf(first.entry), ...conditionsOf(second.entry)];
      const request = everyRequest.withAll(conditions, work)?.example;
      if (request !== undefined) return { request, caller: callers.caller };
    }
  return undefined;
}

interface Callers {
  /** The narrower of the two. */
  readonly caller: CallerName;
  readonly identity: Clauses;
}

/**
 * The callers that both names stand for, as far as the names alone tell; undefined: none. Nobody whom another entry names is one
 * of the others, and which service account a workload or a gateway has is not known here.
 */
function inBoth(one: Named, other: Named): Callers | undefined {
  if (!isSomebody(one) || !isSomebody(other)) return undefined;
  const [first, second] = [identityOf(one), identityOf(other)];
  const caller = breadth[one.kind] <= breadth[other.kind] ? one : other;
  if (first !== undefined && second !== undefined) return { caller, identity: [...first, ...second] };
  return isMeshOrAlike(one, other) ? { caller, identity: [] } : undefined;
}

const isSomebody = (caller: Named): caller is CallerName => caller.kind !== "unknown" && caller.kind !== "others";
const isMeshOrAlike = (one: CallerName, other: CallerName): boolean =>
  one.kind === "mesh" || other.kind === "mesh" || (one.kind === other.kind && isNamedAlike(one, other));

/** Gateways of one name are among those of the namespace, and among all. */
const isNamedAlike = (one: CallerName, other: CallerName): boolean => {
  const [a, b] = [formatCallerName(one), formatCallerName(other)];
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
};

const breadth = { serviceAccount: 0, workload: 0, ingress: 1, namespace: 2, outside: 3, mesh: 3, others: 4 } as const;

/** What the certificates of callers say; undefined: the name alone does not tell. */
function identityOf(caller: CallerName): Clauses | undefined {
  switch (caller.kind) {
    case "serviceAccount":
      return [{ attribute: "identity", values: new Texts([[anything, caller.namespace, caller.name]]), not: false }];
    case "namespace":
      return [{ attribute: "identity", values: new Texts([[anything, caller.namespace, anything]]), not: false }];
    case "mesh":
      return [{ attribute: "identity", values: absent, not: true }];
    case "outside":
      return [{ attribute: "identity", values: absent, not: false }];
    default:
      return undefined;
  }
}
