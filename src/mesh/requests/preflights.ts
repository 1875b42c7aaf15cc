import { type Clause, everyRequest } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { methodsOf } from "../authorization/requests/proxy-matches.ts";
import { Undecided, type Work } from "../authorization/requests/work.ts";
import { decisionsOf } from "./decisions.ts";
import type { Guard } from "./enforcement.ts";
import type { AuthorizationOutcome } from "./outcome.ts";
import { withoutToken } from "./server-view.ts";
import { noIdentity } from "./way.ts";

const preflight: Clause = { attribute: "method", values: methodsOf(["OPTIONS"]), not: false };

/**
 * Why the policies of a gateway deny all preflight requests of browsers among some requests, although they let others through; undefined:
 * they do not, or it is not known. A browser sends `OPTIONS` without a token and without a certificate. Policies decide before the
 * filter for CORS answers, whatever the route says (Istio pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager);
 * only the validation of tokens leaves preflight requests alone (pilot/pkg/security/authn/policy_applier.go, BypassCorsPreflight).
 */
export function preflightsDenied(guard: Guard, requests: Clauses, work: Work): AuthorizationOutcome | undefined {
  if (guard.unclear !== undefined) return undefined;
  const own = [...requests, noIdentity];
  try {
    const denied = denialOfAll(guard, [...own, preflight, ...withoutToken(guard)], work);
    return denied === undefined || denialOfAll(guard, own, work) !== undefined ? undefined : denied;
  } catch (error) {
    if (error instanceof Undecided) return undefined;
    throw error;
  }
}

/** The first denial, if all of these requests are denied. */
function denialOfAll({ enforcement }: Guard, clauses: Clauses, work: Work): AuthorizationOutcome | undefined {
  const box = enforcement && everyRequest.withAll(clauses, work);
  if (enforcement === undefined || box === undefined) return undefined;
  let first: AuthorizationOutcome | undefined;
  for (const { outcome } of decisionsOf(box, enforcement, work)) {
    if (outcome.result !== "denied") return undefined;
    first ??= outcome;
  }
  return first;
}
