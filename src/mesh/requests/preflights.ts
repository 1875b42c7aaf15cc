import { type Clause, everyRequest } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { methodsOf } from "../authorization/requests/proxy-matches.ts";
import { Undecided, type Work } from "../authorization/requests/work.ts";
import { decisionsOf } from "./decisions.ts";
import type { Guard } from "./enforcement.ts";
import type { AuthorizationOutcome } from "./outcome.ts";
import { httpCases } from "./route-conditions.ts";
import { withoutToken } from "./server-view.ts";
import { noIdentity } from "./way.ts";
import { conditionsOf } from "./written-requests.ts";
import type { HttpRoute, VirtualService } from "../traffic/virtual-services.ts";

const preflight: Clause = { attribute: "method", values: methodsOf(["OPTIONS"]), not: false };

/** A gateway that has a route, with its policies. */
interface RouteAtGateway {
  /** The object that has the route, or the one that delegates to it. */
  readonly virtualService: VirtualService;
  readonly guard: Guard;
  /** Its name, `namespace/name`. */
  readonly gateway: string;
  readonly work: Work;
}

/** Why all preflight requests for one match of a route are denied at a gateway; undefined: there is no such match. */
export function preflightsOfRouteDenied(
  route: HttpRoute,
  { virtualService, guard, gateway, work }: RouteAtGateway,
): AuthorizationOutcome | undefined {
  const hosts = conditionsOf({ hosts: virtualService.spec.hosts });
  const matches = route.match.length === 0 ? [undefined] : route.match;
  for (const match of matches) {
    const client = { namespace: "", labels: {}, port: match?.port ?? 0, isWaypoint: false, gateway };
    const cases = httpCases({ ...route, match: match === undefined ? [] : [match] }, virtualService, client);
    for (const { clauses, isClear } of cases) {
      if (!isClear || clauses.some(isOfOtherThanBrowsers)) continue;
      const outcome = preflightsDenied(guard, [...hosts, ...clauses], work);
      if (outcome !== undefined) return outcome;
    }
  }
  return undefined;
}

/** Browsers send preflight requests without the headers that the request itself has. */
const isOfOtherThanBrowsers = ({ attribute, not }: { readonly attribute: string; readonly not: boolean }): boolean =>
  attribute.startsWith("header ") && !not;

/**
 * Why the policies of a gateway deny all preflight requests of browsers among some requests, although they let others through; undefined:
 * they do not, or it is not known. A browser sends `OPTIONS` without a token and without a certificate. Policies decide before the
 * filter for CORS answers, whatever the route says (Istio pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager);
 * only the validation of tokens leaves preflight requests alone (pilot/pkg/security/authn/policy_applier.go, BypassCorsPreflight).
 */
function preflightsDenied(guard: Guard, requests: Clauses, work: Work): AuthorizationOutcome | undefined {
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
