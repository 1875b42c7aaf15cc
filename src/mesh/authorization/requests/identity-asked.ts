import type { AuthorizationPolicy } from "../policies.ts";
import { type Applied, rulesOf } from "./applied.ts";
import type { Request } from "./boxes.ts";
import { isMet } from "./difference.ts";
import type { Clauses, Match } from "./matches.ts";

const known = new WeakMap<Applied, readonly AuthorizationPolicy[]>();

/**
 * The ALLOW policies that apply somewhere, if each of their rules asks for the identity of the caller, which comes from its certificate
 * (Istio pilot/pkg/security/authz/model/generator.go). Empty: nothing is allowed at all, everything is, or some rule allows callers without one.
 */
export function identityAskedBy(applied: Applied): readonly AuthorizationPolicy[] {
  let found = known.get(applied);
  if (found === undefined) {
    const allowed = rulesOf(applied).flatMap(({ allow }) => allow);
    const asks = allowed.every(({ match }) => asksForIdentity(match));
    known.set(applied, (found = asks ? [...new Set(allowed.map(({ policy }) => policy))] : []));
  }
  return found;
}

const denying = new WeakMap<Applied, readonly AuthorizationPolicy[]>();

/**
 * The DENY policies that apply somewhere, each with a rule that leaves out some callers by their identity and nothing else, so that it denies
 * every request of callers without one: the reverse of an absent identity is true.
 */
export function identityDeniedBy(applied: Applied): readonly AuthorizationPolicy[] {
  let found = denying.get(applied);
  if (found === undefined) {
    const denied = rulesOf(applied).flatMap(({ deny }) => deny);
    denying.set(
      applied,
      (found = [...new Set(denied.filter(({ match }) => deniesNobody(match)).map(({ policy }) => policy))]),
    );
  }
  return found;
}

function deniesNobody({ sources, operations, conditions }: Match): boolean {
  const isOnlyExcluding = (clauses: Clauses): boolean =>
    clauses.every(({ attribute, not }) => attribute === "identity" && not) && isMetByNobody(clauses);
  const isForAll = operations.some(({ length }) => length === 0) && isOnlyExcluding(conditions);
  return isForAll && sources.some((one) => one.length + conditions.length > 0 && isOnlyExcluding(one));
}

const nobody: Request = new Map([["identity", undefined]]);
const isMetByNobody = (clauses: Clauses): boolean =>
  isMet(
    clauses.filter(({ attribute }) => attribute === "identity"),
    nobody,
  );

const asksForIdentity = ({ sources, conditions }: Match): boolean =>
  !isMetByNobody(conditions) || !sources.some(isMetByNobody);
