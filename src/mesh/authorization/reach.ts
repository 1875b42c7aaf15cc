import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { type Box, everyRequest } from "./requests/boxes.ts";
import { outside } from "./requests/difference.ts";
import type { Place } from "./requests/matches.ts";
import { isForEveryone, isForMesh, noOrdinary, type Ordinary, ordinaryOf, unite } from "./requests/ordinary.ts";
import { type Ruled, rulesAt } from "./requests/policies.ts";
import { absent } from "./requests/values.ts";
import { Undecided, Work } from "./requests/work.ts";
import type { Enforcer } from "./rules.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

/**
 * Whom a policy matches.
 * - `everyone`: an ALLOW policy restricts nobody who is unnamed: callers without an identity may send every ordinary request
 *   (see `requests/ordinary.ts`); a DENY policy matches every request of every caller.
 * - `authenticated`: an ALLOW policy restricts no workload of the mesh, whatever it is called.
 * - `some`: fewer requests, perhaps none.
 */
export type Reach = "everyone" | "authenticated" | "some";

const reaches: readonly Reach[] = ["some", "authenticated", "everyone"];
export const widest = (all: readonly Reach[]): Reach => reaches.findLast((reach) => all.includes(reach)) ?? "some";

/** What a policy, or some rules of it, matches at a data plane. */
export interface Matched {
  /** The ordinary requests that it matches. */
  readonly ordinary: Ordinary;
  readonly reach: Reach;
}

/** The place that decides about HTTP at a data plane. */
export const placeOf = (enforcer: Enforcer): Place => (enforcer === "proxy" ? "http" : "ztunnel");

const known = new WeakMap<readonly Ruled[], Matched>();

/** Computed once for each policy, because policies never change. */
export function matchedBy(policy: AuthorizationPolicy, enforcer: Enforcer, settings: MeshSettings): Matched {
  const rules = rulesAt(policy, placeOf(enforcer), settings);
  let found = known.get(rules);
  if (found === undefined) known.set(rules, (found = matchedByRules(rules, settings)));
  return found;
}

export const reachOf = (policy: AuthorizationPolicy, enforcer: Enforcer, settings: MeshSettings): Reach =>
  namesItsCallers(policy) ? "some" : matchedBy(policy, enforcer, settings).reach;

/**
 * Whether each rule names its callers, so that the policy matches no ordinary request and its reach is `some`. Most policies
 * do, and matchedBy keeps some kilobytes for each policy that it was asked about.
 */
export const namesItsCallers = ({ spec }: AuthorizationPolicy): boolean =>
  spec.rules.every(
    ({ from }) =>
      from.length > 0 && from.every(({ source }) => areNames(source.principals) || areNames(source.namespaces)),
  );
const areNames = (values: readonly string[]): boolean =>
  values.length > 0 && values.every((value) => value !== "" && !value.includes("*"));

/** The reach of one rule of a policy alone. */
export interface RuleReach {
  readonly reach: Reach;
  /** It matches every request that the data plane sees. */
  readonly isWhole: boolean;
}

const nobody: RuleReach = { reach: "some", isWhole: false };

/** Of each rule, in the order of the policy. */
export function reachesOfRules(
  policy: AuthorizationPolicy,
  enforcer: Enforcer,
  settings: MeshSettings,
): readonly RuleReach[] {
  const all = policy.spec.rules.map(() => nobody);
  for (const ruled of rulesAt(policy, placeOf(enforcer), settings)) {
    const { reach } = matchedByRules([ruled], settings);
    if (reach !== "some") all[ruled.index] = { reach, isWhole: isEverything([ruled]) };
  }
  return all;
}

function matchedByRules(rules: readonly Ruled[], settings: MeshSettings): Matched {
  const ordinary = rules.reduce((sum, ruled) => unite(sum, ordinaryOf(ruled, settings)), noOrdinary);
  return { ordinary, reach: reachOfOrdinary(ordinary, rules) };
}

function reachOfOrdinary(ordinary: Ordinary, rules: readonly Ruled[]): Reach {
  const isAllow = (rules[0]?.policy.spec.action ?? "ALLOW") === "ALLOW";
  if (isForEveryone(ordinary)) return isAllow || isEverything(rules) ? "everyone" : "some";
  return isAllow && isForMesh(ordinary) ? "authenticated" : "some";
}

/** Whether the rules match every request; false if that takes too much work to know. */
const isEverything = (rules: readonly Ruled[]): boolean => isNothingLeft(everyRequest, rules);

/** Whether a policy matches every request of every workload of the mesh, so that it distinguishes none of them. */
export function isSameForMesh(policy: AuthorizationPolicy, enforcer: Enforcer, settings: MeshSettings): boolean {
  const rules = rulesAt(policy, placeOf(enforcer), settings);
  let known = sameForMesh.get(rules);
  if (known === undefined) sameForMesh.set(rules, (known = rules.length > 0 && isNothingLeft(withIdentity, rules)));
  return known;
}
const sameForMesh = new WeakMap<readonly Ruled[], boolean>();
const withIdentity = everyRequest.with({ attribute: "identity", values: absent, not: true }, new Work(100));

function isNothingLeft(box: Box | undefined, rules: readonly Ruled[]): boolean {
  if (box === undefined) return true;
  try {
    const [left] = outside(
      box,
      rules.map(({ match }) => match),
      new Work(10_000),
    );
    return left === undefined;
  } catch (error) {
    if (error instanceof Undecided) return false;
    throw error;
  }
}
