import { type Box, type Clause, opposite } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { Decide, Enforcement } from "./decisions.ts";
import type { Guard } from "./enforcement.ts";
import { isDenied } from "./journey-steps.ts";
import type { AuthorizationOutcome } from "./outcome.ts";
import { atGuard, lostToken } from "./server-view.ts";
import type { GatewayRoutes } from "./table-entries.ts";
import { refusedTokens } from "./token-use.ts";
import type { Way } from "./way.ts";

// What a guard on the way makes of requests.

/** What a question is examined with. */
export interface Means {
  readonly work: Work;
  readonly decide: Decide;
}

/** Divides requests by what a guard decides. `fixed`: what all of them have there. */
export function* decidedBy(guard: Guard, way: Way, fixed: Clauses, { work, decide }: Means): Generator<Way, undefined> {
  const { enforcement, unclear } = guard;
  if (unclear !== undefined) {
    yield { ...way, authorization: [...way.authorization, unclearAt(enforcement, unclear)] };
    return;
  }
  if (enforcement === undefined) {
    yield way;
    return;
  }
  const { refused, accepted } = withoutTokensRefused(way, guard, work);
  if (refused !== undefined)
    yield { ...way, box: refused, authorization: [...way.authorization, tokenRefused(enforcement, refused)] };
  if (accepted === undefined) return;
  const view = atGuard(way.view, guard, fixed);
  const seen = view.seen(accepted, work);
  if (seen === undefined) return;
  const note = lostToken(way.view, guard);
  for (const { box, outcome } of decide(seen, enforcement, work)) {
    const sent = view.sent(accepted, box, work);
    if (sent === undefined) continue;
    const authorization = [...way.authorization, sent.isCertain ? explained(outcome, note) : uncertain(outcome)];
    yield { ...way, box: sent.box, authorization };
  }
}

/** The same at a gateway. Where it has no route for connections, it has no filter chain, so that nothing denies them. */
export function* decidedAtGateway(
  way: Way,
  guard: Guard,
  { stream }: GatewayRoutes,
  means: Means,
): Generator<Way, undefined> {
  const isThere = guard.enforcement?.applied.place !== "tcp" || stream !== undefined;
  for (const next of decidedBy(guard, way, [], means))
    yield isThere || !isDenied(next) ? next : { ...next, authorization: way.authorization };
}

/** With what explains that no rule matches. */
function explained(outcome: AuthorizationOutcome, note: string | undefined): AuthorizationOutcome {
  const { at, place, result, by, policies, because } = outcome;
  if (note === undefined || result !== "denied" || by !== undefined) return outcome;
  // Which rules come close is found out only if somebody asks.
  return {
    ...{ at, place, result, by, policies, because, note },
    get close() {
      return outcome.close;
    },
  };
}

/** The decision depends on something that what lies between may have changed. */
const uncertain = (outcome: AuthorizationOutcome): AuthorizationOutcome => ({
  at: outcome.at,
  place: outcome.place,
  by: outcome.by,
  policies: outcome.policies,
  close: [],
  result: "undecided",
  because:
    "the policies ask for something that is not known there: a path that a route rewrote, or an address behind a waypoint",
});

/** Divides requests by whether a guard refuses the tokens that the question names, before it asks its policies. */
function withoutTokensRefused(
  { box, view, tokens }: Way,
  { enforcement, tokens: use }: Guard,
  work: Work,
): { readonly refused: Box | undefined; readonly accepted: Box | undefined } {
  const isSent = enforcement?.applied.place === "http" && !view.isWithoutToken && !view.isOpen("token");
  const values = isSent ? refusedTokens(tokens, use) : undefined;
  if (values === undefined) return { refused: undefined, accepted: box };
  const refused: Clause = { attribute: "token", values, not: false };
  return { refused: box.with(refused, work), accepted: box.with(opposite(refused), work) };
}

const tokenRefused = ({ at, applied }: Enforcement, { example }: Box): AuthorizationOutcome => {
  const token = example.get("token");
  const issuer = typeof token === "object" ? (token[0] ?? "") : "";
  return {
    at,
    place: applied.place,
    result: "denied",
    by: undefined,
    policies: [],
    close: [],
    because: `no RequestAuthentication at the ${at} accepts tokens of issuer ${issuer}`,
  };
};

const unclearAt = (enforcement: Guard["enforcement"], because: string): AuthorizationOutcome => ({
  at: enforcement?.at ?? "sidecar",
  place: enforcement?.applied.place ?? "http",
  result: "undecided",
  by: undefined,
  policies: [],
  close: [],
  because,
});
