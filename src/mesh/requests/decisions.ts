import type { AuthorizationPolicy } from "../authorization/policies.ts";
import type { ProviderUse } from "../authorization/providers.ts";
import { type Applied, type Rules, rulesOf } from "../authorization/requests/applied.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import { inside, outside } from "../authorization/requests/difference.ts";
import type { Match } from "../authorization/requests/matches.ts";
import type { Ruled } from "../authorization/requests/policies.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import type { AuthorizationOutcome, EnforcementPoint } from "./outcome.ts";

/** The policies that decide at one place. */
export interface Enforcement {
  readonly at: EnforcementPoint;
  readonly applied: Applied;
  /** The CUSTOM policies, whose rules say which requests a provider is asked about; undefined: none is asked. */
  readonly custom: Asking | undefined;
}

/** CUSTOM policies, and what is known of their providers. */
export interface Asking extends Applied {
  readonly uses: ReadonlyMap<AuthorizationPolicy, ProviderUse>;
}

/** Requests with one decision. */
export interface Decision {
  readonly box: Box;
  readonly outcome: AuthorizationOutcome;
}

/** Reads the rules of policies; somebody with many questions can let equal rules share what they consist of. */
export interface RulesIn {
  of(applied: Applied): readonly Rules[];
}

/** As decisionsOf. */
export type Decide = (box: Box, enforcement: Enforcement, work: Work) => Iterable<Decision>;

/**
 * Divides requests by what the policies of one place decide: first DENY, then ALLOW; what is allowed and matches a CUSTOM
 * policy is decided by its provider (Istio pilot/pkg/security/authz/builder/builder.go; ztunnel src/rbac.rs). That CUSTOM is
 * asked first makes no difference, because every one of the three can only deny. The parts together are the whole box; those
 * that several ALLOW rules allow overlap. Throws Undecided if it takes too much work.
 */
export const decisionsOf: Decide = (box, enforcement, work) => decisionsBy({ of: rulesOf }, box, enforcement, work);

/** The same with rules that somebody else reads. */
export function* decisionsBy(
  rulesIn: RulesIn,
  box: Box,
  enforcement: Enforcement,
  work: Work,
): Generator<Decision, undefined> {
  const { at, applied, custom } = enforcement;
  const rules = rulesIn.of(applied);
  const deny = rules.flatMap((one) => one.deny);
  const isMet = ({ match }: Ruled) => inside(box, match, work).next().done !== true;
  const denying = deny.filter(isMet);
  const place = { at, place: applied.place };
  for (const by of denying)
    for (const denied of inside(box, by.match, work))
      yield { box: denied, outcome: { ...place, ...nothing, result: "denied", by } };
  const hasAllow = rules.some((one) => one.hasAllow);
  const allow = rules.flatMap((one) => one.allow);
  const allowing = allow.filter(isMet);
  for (const left of outside(box, denying.map(matchOf), work)) {
    if (!hasAllow) {
      yield* asked(left, undefined, enforcement, work);
      continue;
    }
    const whole = allowing.find(({ match }) => outside(left, [match], work).next().done === true);
    for (const by of whole === undefined ? allowing : [whole])
      for (const allowed of inside(left, by.match, work)) yield* asked(allowed, by, { at, applied, custom }, work);
    if (whole !== undefined) continue;
    const policies = applied.lists.flatMap((list) => list.policies.filter(isAllow));
    for (const refused of outside(left, allowing.map(matchOf), work))
      yield {
        box: refused,
        outcome: new DeniedByDefault(place, policies, () => closeTo(refused, allow)),
      };
  }
}

const nothing = { by: undefined, policies: [], close: [], because: undefined };
const matchOf = ({ match }: Ruled): Match => match;
const isAllow = ({ spec }: AuthorizationPolicy): boolean => (spec.action ?? "ALLOW") === "ALLOW";

/** What is allowed, of which a provider may deny a part. */
function* asked(
  box: Box,
  by: Ruled | undefined,
  { at, applied, custom }: Enforcement,
  work: Work,
): Generator<Decision, undefined> {
  const asking = custom === undefined ? [] : rulesOf(custom).flatMap(({ deny }) => deny);
  const providers = new Set(custom?.lists.flatMap(({ policies }) => policies.map(providerOf)));
  const place = { at, place: applied.place };
  for (const ruled of asking)
    for (const left of inside(box, ruled.match, work))
      yield { box: left, outcome: { ...place, ...nothing, ...answerOf(ruled, providers, custom?.uses) } };
  for (const left of outside(box, asking.map(matchOf), work))
    yield { box: left, outcome: { ...place, ...nothing, result: "allowed", by } };
}

export const providerOf = ({ spec }: AuthorizationPolicy): string => spec.provider?.name ?? "";

/** With two providers at one workload, or one that it cannot use, Istio denies what it would ask about (builder.go getBadCustomDenyRules). */
function answerOf(
  by: Ruled,
  providers: ReadonlySet<string>,
  uses: Asking["uses"] | undefined,
): Pick<AuthorizationOutcome, "result" | "by" | "policies" | "because"> {
  const policies = [by.policy];
  if (providers.size > 1) {
    const because = `several CUSTOM policies name different providers (${[...providers].sort().join(", ")}), so Istio denies what they match`;
    return { result: "denied", by, policies, because };
  }
  const reason = uses?.get(by.policy)?.because;
  if (reason !== undefined)
    return { result: "denied", by, policies, because: `${reason}, so Istio denies what CUSTOM policies for it match` };
  const because = `the provider ${JSON.stringify(providerOf(by.policy))} decides, which is not known`;
  return { result: "undecided", by, policies, because };
}

/** The rules that come close are looked for only where they are shown. */
class DeniedByDefault implements AuthorizationOutcome {
  readonly at: EnforcementPoint;
  readonly place: AuthorizationOutcome["place"];
  readonly result = "denied";
  readonly by = undefined;
  readonly policies: readonly AuthorizationPolicy[];
  readonly because = undefined;
  readonly #find: () => readonly Ruled[];
  #close: readonly Ruled[] | undefined;

  constructor(
    { at, place }: Pick<AuthorizationOutcome, "at" | "place">,
    policies: readonly AuthorizationPolicy[],
    find: () => readonly Ruled[],
  ) {
    this.at = at;
    this.place = place;
    this.policies = policies;
    this.#find = find;
  }

  get close(): readonly Ruled[] {
    return (this.#close ??= this.#find());
  }
}

const ofCaller: ReadonlySet<string> = new Set(["identity", "source.ip", "remote.ip"]);
export const isOfCaller = (attribute: Attribute): boolean => ofCaller.has(attribute) || isOfToken(attribute);
export const isOfToken = (attribute: Attribute): boolean => attribute === "token" || attribute.startsWith("claim ");

/** So many rules that come close are of interest. */
const mostClose = 5;

/** The rules that allow other requests of the same callers, and then those that allow the same requests of others. */
function closeTo(box: Box, rules: readonly Ruled[]): readonly Ruled[] {
  const work = new Work(20_000);
  const sameCallers = box.without((attribute) => !isOfCaller(attribute));
  const sameRequests = box.without(isOfCaller);
  const isNear = (near: Box, { match }: Ruled) => inside(near, match, work).next().done !== true;
  const found = new Set<Ruled>();
  try {
    for (const ruled of rules) if (found.size < mostClose && isNear(sameCallers, ruled)) found.add(ruled);
    for (const ruled of rules) if (found.size < mostClose && isNear(sameRequests, ruled)) found.add(ruled);
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
  }
  return [...found];
}
