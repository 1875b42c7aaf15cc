import { KeptIn } from "../../../view/kept-in.ts";
import type { Applied, PolicyChange } from "./applied.ts";
import { type Box, everyRequest } from "./boxes.ts";
import { inside, outside } from "./difference.ts";
import type { Clauses, Match, Place } from "./matches.ts";
import { isAllow, isSameTrust, type Ruled, rulesAt, textOf, textOfRule } from "./policies.ts";
import { hasIdentity, type Harmless, type StrangerIdentity, unnamed } from "./strangers.ts";
import { type Kept, Undecided, Work, workOfQuestion } from "./work.ts";

type Policy = PolicyChange["gone"][number];
/** How rules are read. */
type Reading = Omit<Applied, "lists">;

/** The work for one question about a change, in compared values. */
/** Callers whom no policy names, by their identity, without what they may request. */
export interface Unnamed {
  readonly harmless: Harmless;
  readonly identity: StrangerIdentity;
}

/**
 * Whether a rule may match callers with this identity and without a token, as far as its own conditions about these tell:
 * most rules name their callers, which is decided without other rules.
 */
function mayMatchUnnamed({ match: { sources, conditions } }: Ruled, identity: StrangerIdentity): boolean {
  const isMet = ({ attribute, values, not }: Clauses[number]): boolean => {
    if (attribute === "identity") return values.has(identity) !== not;
    return attribute !== "token" || values.has(undefined) !== not;
  };
  return conditions.every(isMet) && sources.some((clauses) => clauses.every(isMet));
}

const forUnnamed = new KeptIn<readonly Ruled[], Map<StrangerIdentity, readonly Ruled[]>>();

/** The rules that may match unnamed callers with this identity, found once for each list. */
export function rulesForUnnamed(rules: readonly Ruled[], identity: StrangerIdentity): readonly Ruled[] {
  let known = forUnnamed.get(rules);
  if (known === undefined) forUnnamed.set(rules, (known = new Map()));
  let found = known.get(identity);
  if (found === undefined) known.set(identity, (found = rules.filter((ruled) => mayMatchUnnamed(ruled, identity))));
  return found;
}

/** The rules by which the policies of a change differ, whatever other policies there are. Results are computed on demand and kept. */
export class ChangedRules {
  readonly #policies: PolicyChange;
  readonly #before: Reading;
  readonly #after: Reading;
  #unnamed: UnnamedAt | undefined;
  #written: { readonly hasNewAllow: boolean; readonly hasOldDeny: boolean } | undefined;
  #allow: Difference | undefined;
  #deny: Difference | undefined;
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
    return this.#allowed.rules;
  }
  /** DENY rules that are gone. */
  get oldDeny(): readonly Ruled[] {
    return this.#denied.rules;
  }

  get #allowed(): Difference {
    if (this.#allow !== undefined) return this.#allow;
    const { old, now } = this.#rulesOf(isAllow);
    return (this.#allow = this.#difference(now, old));
  }
  get #denied(): Difference {
    if (this.#deny !== undefined) return this.#deny;
    const { old, now } = this.#rulesOf(isDeny);
    return (this.#deny = this.#difference(old, now));
  }
  #difference(rules: readonly Ruled[], others: readonly Ruled[]): Difference {
    return { rules: this.#before.place === this.#after.place ? without(rules, others) : rules, others };
  }

  /** Where one policy has changed, most of its rules have not. */
  #rulesOf(isOfAction: (policy: Policy) => boolean): {
    readonly old: readonly Ruled[];
    readonly now: readonly Ruled[];
  } {
    const [gone, come] = [this.#policies.gone.filter(isOfAction), this.#policies.come.filter(isOfAction)];
    const old = rulesIn(gone, this.#before);
    const isShared = gone.length === 1 && come.length === 1 && isReadAlike(this.#before, this.#after);
    return { old, now: rulesIn(come, this.#after, isShared ? old : undefined) };
  }

  /** Whether ALLOW policies that are gone have rules, or others that come, of which the first ALLOW policy closes what was open. */
  mayClose(hasAllowed: boolean): boolean {
    const { gone, come } = this.#policies;
    const closes = (policy: Policy, isAmong: boolean) => isAmong && policy.spec.rules.length > 0;
    return (
      gone.some((policy) => closes(policy, isAllow(policy))) ||
      come.some((policy) => closes(policy, !hasAllowed || isDeny(policy)))
    );
  }

  /** Whether a new ALLOW rule may match unnamed callers with this identity. */
  mayAllowUnnamed(identity: StrangerIdentity): boolean {
    return rulesForUnnamed(this.newAllow, identity).length > 0;
  }

  /** The requests of unnamed callers with this identity that are not harmless; undefined: there are none. */
  fromUnnamed({ harmless, identity }: Unnamed, place: Place, work: Work): Box | undefined {
    const { clauses, boxes } = this.#unnamedAt(place, harmless);
    const known = boxes.get(identity);
    if (known !== undefined) {
      work.spend(known.spent);
      return known.result;
    }
    const before = work.spent;
    const result = everyRequest.withAll([hasIdentity(identity), ...clauses], work);
    boxes.set(identity, { result, spent: work.spent - before });
    return result;
  }

  #unnamedAt(place: Place, harmless: Harmless): UnnamedAt {
    const { methods, paths } = harmless;
    const known = this.#unnamed;
    if (known?.methods === methods && known.paths === paths && known.place === place) return known;
    const clauses = unnamed(this.newAllow.map(matchOf), place, harmless);
    return (this.#unnamed = { methods, paths, place, clauses, boxes: new Map() });
  }

  /** Whether somebody can gain anything. */
  get mayGain(): boolean {
    return (this.#mayGain ??= this.#findMayGain());
  }
  #findMayGain(): boolean {
    const { gone, come } = this.#policies;
    if (gone.some(isAllow) && !come.some(isAllow)) return true;
    const work = new Work(workOfQuestion);
    try {
      return isAnyLeft(this.#allowed, work) || isAnyLeft(this.#denied, work);
    } catch (error) {
      if (error instanceof Undecided) return true;
      throw error;
    }
  }
}

/** Rules that only one side has, and all rules of the other side. */
interface Difference {
  readonly rules: readonly Ruled[];
  readonly others: readonly Ruled[];
}

/** Whether one of the rules matches a request that none of the others matches. */
function isAnyLeft({ rules, others }: Difference, work: Work): boolean {
  if (rules.length === 0) return false;
  const matches = others.map(matchOf);
  return rules.some(({ match }) =>
    inside(everyRequest, match, work).some((box) => outside(box, matches, work).next().done !== true),
  );
}

/** What unnamed callers are, and their requests by their identity, for the last requests that were harmless: the rules of one review agree about them. */
interface UnnamedAt extends Harmless {
  readonly place: Place;
  readonly clauses: Clauses;
  readonly boxes: Map<StrangerIdentity, Kept & { readonly result: Box | undefined }>;
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

const isDeny = (policy: Policy): boolean => !isAllow(policy);
function rulesIn(
  policies: readonly Policy[],
  { place, settings }: Reading,
  former?: readonly Ruled[],
): readonly Ruled[] {
  return policies.flatMap((policy) => rulesAt(policy, place, settings, former));
}
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
    some.flatMap((policy) => policy.spec.rules.map((_, i) => textOfRule(policy, i)));
  const known = new Set(textsOf(others));
  return textsOf(policies).some((text) => !known.has(text));
}
