import { type Clause, everyRequest } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { methodsOf } from "../authorization/requests/proxy-matches.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { decisionsOf } from "./decisions.ts";
import type { Guard } from "./enforcement.ts";
import type { AuthorizationOutcome } from "./outcome.ts";
import { withoutToken } from "./server-view.ts";
import { noIdentity } from "./way.ts";

/** So much work is done for one set of requests; what takes more stays open. */
const mostWork = 50_000;

const preflight: Clause = { attribute: "method", values: methodsOf(["OPTIONS"]), not: false };

/**
 * Why the policies of a gateway deny all preflight requests of browsers among some requests, although they let others through; undefined:
 * they do not, or it is not known. A browser sends `OPTIONS` without a token and without a certificate. Policies decide before the
 * filter for CORS answers, whatever the route says (Istio pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager);
 * only the validation of tokens leaves preflight requests alone (pilot/pkg/security/authn/policy_applier.go, BypassCorsPreflight).
 */
export function preflightsDenied(guard: Guard, requests: Clauses): AuthorizationOutcome | undefined {
  if (guard.unclear !== undefined) return undefined;
  try {
    const own = [...requests, noIdentity];
    const [denied, ...others] = outcomesOf(guard, [...own, preflight, ...withoutToken(guard)]);
    if (![denied, ...others].every(isDenied)) return undefined;
    return [...outcomesOf(guard, own)].every(isDenied) ? undefined : denied;
  } catch (error) {
    if (error instanceof Undecided) return undefined;
    throw error;
  }
}

const isDenied = (outcome: AuthorizationOutcome | undefined): boolean => outcome?.result === "denied";

function* outcomesOf({ enforcement }: Guard, clauses: Clauses): Iterable<AuthorizationOutcome> {
  const work = new Work(mostWork);
  const box = enforcement && everyRequest.withAll(clauses, work);
  if (enforcement === undefined || box === undefined) return;
  for (const { outcome } of decisionsOf(box, enforcement, work)) yield outcome;
}
