import { KeptIn } from "../../../view/kept-in.ts";
import type { Applied, PolicyChange } from "./applied.ts";
import { type Box, everyRequest } from "./boxes.ts";
import { inside, outside } from "./difference.ts";
import type { Clauses, Match, Place } from "./matches.ts";
import { isSameTrust, type Ruled, rulesAt } from "./policies.ts";
import { type Harmless, type StrangerIdentity, unnamed } from "./strangers.ts";
import { type Kept, Undecided, Work } from "./work.ts";

type Policy = PolicyChange["gone"][number];
/** How rules are read. */
type Reading = Omit<Applied, "lists">;

/** The work for one question about a change, in compared values. */
export const workOfQuestion = 60_000;

/** Callers whom no policy names, by their identity, without what they may request. */
export interface Unnamed {
  readonly harmless: Harmless;
  readonly identity: StrangerIdentity;
}

/**
 * Whether a rule may match callers with this identity and without a token, as far as its own conditions about these tell:
 * most rules name their callers, which is decided without other rules.
 */
const mayMatchUnnamed =
  (identity: StrangerIdentity) =>
  ({ match: { sources, conditions } }: Ruled): boolean => {
    const isMet = ({ attribute, values, not }: Clauses[number]): boolean => {
      if (attribute === "identity") return values.has(identity) !== not;
      return attribute !== "token" || values.has(undefined) !== not;
    };
    return conditions.every(isMet) && sources.some((clauses) => clauses.every(isMet));
  };

/** The rules by which the policies of a change differ, whatever other policies there are. Results are computed on demand and kept. */
export class ChangedRules {
  readonly #policies: PolicyChange;
  readonly #before: Reading;
  readonly #after: Reading;
  readonly #mayAllowUnnamed = new Map<StrangerIdentity, boolean>();
  readonly #fromUnnamed = new Map<StrangerIdentity, FromUnnamed>();
  #written: { readonly hasNewAllow: boolean; readonly hasOldDeny: boolean } | undefined;
  #newAllow: readonly Ruled[] | undefined;
  #oldDeny: readonly Ruled[] | undefined;
  #mayGain: boolean | undefined;

  constructor(policies: PolicyChange, before: Reading, after: Reading) {
    this.#policies = policies;
    this.#before = before;
    this.#after = after;
  }

  /** Whether there are new ALLOW rules, or DENY rules that are gone, as they are written. */
  get written(): { readonly hasNewAllow: boolean; readonly hasOldDeny: boolean } {
    const { gone, come } = this.#policies;
    return (this.#written ??= {
      hasNewAllow: hasOthers(come.filter(isAllow), gone.filter(isAllow)),
      hasOldDeny: hasOthers(gone.filter(isDeny), come.filter(isDeny)),
    });
  }

  /** ALLOW rules that are new. */
  get newAllow(): readonly Ruled[] {
    const { gone, come } = this.#policies;
    return (this.#newAllow ??= this.#without(isAllow, [come, this.#after], [gone, this.#before]));
  }
  /** DENY rules that are gone. */
  get oldDeny(): readonly Ruled[] {
    const { gone, come } = this.#policies;
    return (this.#oldDeny ??= this.#without(isDeny, [gone, this.#before], [come, this.#after]));
  }
  #without(
    isOfAction: (policy: Policy) => boolean,
    [some, reading]: readonly [readonly Policy[], Reading],
    [others, otherwise]: readonly [readonly Policy[], Reading],
  ): readonly Ruled[] {
    const rules = rulesIn(some.filter(isOfAction), reading);
    return reading.place === otherwise.place ? without(rules, rulesIn(others.filter(isOfAction), otherwise)) : rules;
  }

  /** Whether ALLOW policies that are gone have rules. */
  get endsRules(): boolean {
    return this.#policies.gone.some((policy) => isAllow(policy) && policy.spec.rules.length > 0);
  }

  /** Whether a new ALLOW rule may match unnamed callers with this identity. */
  mayAllowUnnamed(identity: StrangerIdentity): boolean {
    let found = this.#mayAllowUnnamed.get(identity);
    if (found === undefined)
      this.#mayAllowUnnamed.set(identity, (found = this.newAllow.some(mayMatchUnnamed(identity))));
    return found;
  }

  /** The requests of unnamed callers with this identity that are not harmless; undefined: there are none. */
  fromUnnamed(who: Unnamed, place: Place, work: Work): Box | undefined {
    const { methods, paths } = who.harmless;
    let found = this.#fromUnnamed.get(who.identity);
    if (found?.methods === methods && found.paths === paths && found.place === place) {
      work.spend(found.spent);
      return found.result;
    }
    const before = work.spent;
    const result = everyRequest.withAll(unnamed(this.newAllow.map(matchOf), place, who), work);
    found = { methods, paths, place, result, spent: work.spent - before };
    this.#fromUnnamed.set(who.identity, found);
    return result;
  }

  /** Whether somebody can gain anything. */
  get mayGain(): boolean {
    return (this.#mayGain ??= mayGainBy(this.#policies, this.#before, this.#after));
  }
}

/** The answer for the last requests that were harmless, which the rules of one review agree about. */
interface FromUnnamed extends Harmless, Kept {
  readonly place: Place;
  readonly result: Box | undefined;
}

const known = new KeptIn<PolicyChange, Map<Place, ChangedRules>>();
export const isReadAlike = (a: Reading, b: Reading): boolean =>
  a.place === b.place && isSameTrust(a.settings, b.settings);

/** A mesh-wide list is the same for all namespaces, so that its rules are compared once for each place. */
export function changedRules(policies: PolicyChange, before: Reading, after: Reading): ChangedRules {
  if (!isReadAlike(before, after)) return new ChangedRules(policies, before, after);
  let places = known.get(policies);
  if (places === undefined) known.set(policies, (places = new Map()));
  let found = places.get(after.place);
  if (found === undefined) {
    const reading = { place: after.place, settings: after.settings };
    places.set(after.place, (found = new ChangedRules(policies, reading, reading)));
  }
  return found;
}

/** Whether somebody can gain anything by the change of one list, whatever other policies there are. */
export const mayGain = (policies: PolicyChange, before: Reading, after: Reading): boolean =>
  !isReadAlike(before, after) || changedRules(policies, before, after).mayGain;

function mayGainBy({ gone, come }: PolicyChange, before: Reading, after: Reading): boolean {
  if (gone.some(isAllow) && !come.some(isAllow)) return true;
  const [old, now] = [rulesIn(gone, before), rulesIn(come, after)];
  const work = new Work(workOfQuestion);
  const isLeft = (rules: readonly Ruled[], others: readonly Ruled[]) =>
    without(rules, others).some(({ match }) =>
      inside(everyRequest, match, work).some((box) => outside(box, others.map(matchOf), work).next().done !== true),
    );
  try {
    return isLeft(now.filter(isOfAllow), old.filter(isOfAllow)) || isLeft(old.filter(isOfDeny), now.filter(isOfDeny));
  } catch (error) {
    if (error instanceof Undecided) return true;
    throw error;
  }
}

const isOfAllow = ({ policy }: Ruled): boolean => isAllow(policy);
const isOfDeny = ({ policy }: Ruled): boolean => isDeny(policy);
const isAllow = ({ spec }: Policy): boolean => (spec.action ?? "ALLOW") === "ALLOW";
const isDeny = (policy: Policy): boolean => !isAllow(policy);
const rulesIn = (policies: readonly Policy[], { place, settings }: Reading): readonly Ruled[] =>
  policies.flatMap((policy) => rulesAt(policy, place, settings));
export const matchOf = ({ match }: Ruled): Match => match;

/** The rules that the others do not contain literally. */
function without(rules: readonly Ruled[], others: readonly Ruled[]): readonly Ruled[] {
  if (rules.length === 0 || others.length === 0) return rules;
  const known = new Set(others.map(textOf));
  return rules.filter((ruled) => !known.has(textOf(ruled)));
}

/** Whether some policies have a rule that the others do not contain literally. */
function hasOthers(policies: readonly Policy[], others: readonly Policy[]): boolean {
  if (others.length === 0) return policies.some(({ spec }) => spec.rules.length > 0);
  const textsOf = (some: readonly Policy[]) =>
    some.flatMap((policy) => policy.spec.rules.map((_, i) => textAt(policy, i)));
  const known = new Set(textsOf(others));
  return textsOf(policies).some((text) => !known.has(text));
}

const texts = new WeakMap<object, string>();

/** Two rules with the same text in one namespace match the same. */
const textOf = ({ policy, index }: Ruled): string => textAt(policy, index);
function textAt({ metadata, spec }: Policy, index: number): string {
  const rule = spec.rules[index];
  let text = rule && texts.get(rule);
  if (rule !== undefined && text === undefined) texts.set(rule, (text = metadata.namespace + JSON.stringify(rule)));
  return text ?? "";
}
