import type { Labels, ObjectOf } from "../../kube/object.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { selects } from "../objects/selectors.ts";
import { type FilledPolicy, filledPolicy, isMadeOfPolicies, type SettingPlace } from "./backend-policy-merge.ts";

type DestinationRule = ObjectOf<"DestinationRule">;
type Subset = DestinationRule["spec"]["subsets"][number];
type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

/**
 * A merged DestinationRule: istiod's result for the DestinationRules of one host in one namespace, which can be one that istiod itself
 * makes of policies.
 */
export interface MergedDestinationRule {
  readonly host: string;
  readonly namespace: string;
  /** As written. Unset and `["*"]` have the same meaning, but istiod does not merge one with the other. */
  readonly exportTo: ReadonlySet<string>;
  /** The selector of the first rule; undefined selects every workload. */
  readonly selector: Labels | undefined;
  readonly subsets: readonly Subset[];
  /** The traffic policy of the oldest rule that has one; with a rule that is made of policies, the one that is filled. */
  readonly trafficPolicy: TrafficPolicy;
  readonly policyRule: DestinationRule | undefined;
  /** The rules of users that have a part in the traffic policy. */
  readonly policySources: Iterable<DestinationRule>;
  /** Where a setting of `trafficPolicy` is from: the entry for a port at this position; undefined: the tls for all ports. */
  settingAt(entry: number | undefined): SettingPlace;
  /** The rules of users. */
  readonly from: readonly DestinationRule[];
  /** The rule that istiod makes of policies, with which the others are merged; undefined: there is none. */
  readonly made: DestinationRule | undefined;
  /** `from` in parts. Other merged rules can share a part, or the end of one. */
  readonly parts: readonly RulePart[];
  /** Whether it has a subset of this name. */
  defines(subset: string): boolean;
  /** The rule that one of its subsets is from. */
  placeOf(subset: Subset): SubsetPlace | undefined;
}

/** A rule, and the position of a subset in its list. */
export interface SubsetPlace {
  readonly rule: DestinationRule;
  readonly i: number;
}

export const selectorOf = ({ spec }: DestinationRule): Labels | undefined =>
  spec.workloadSelector === undefined ? undefined : (spec.workloadSelector.matchLabels ?? {});

const exports = new WeakMap<DestinationRule, ReadonlySet<string>>();
const unnamed: ReadonlySet<string> = new Set();
const itsOwnNamespace: ReadonlySet<string> = new Set(["."]);

/**
 * A rule with a workloadSelector is private, regardless of its exportTo (Istio pilot/pkg/model/push_context.go
 * setDestinationRules).
 */
export function exportSetOf(rule: DestinationRule): ReadonlySet<string> {
  if (selectorOf(rule) !== undefined) return itsOwnNamespace;
  if (rule.spec.exportTo.length === 0) return unnamed;
  let found = exports.get(rule);
  if (found === undefined) {
    found = new Set(rule.spec.exportTo);
    exports.set(rule, found);
  }
  return found;
}

/**
 * Merges the rules of one host in one namespace as Istio pilot/pkg/model/destination_rule.go mergeDestinationRule does,
 * including its edge cases: the last of the existing rules decides whether a new one stays separate, a wider one is merged
 * without being kept, and a private rule without a selector is merged into one that has a selector. istiod adds a rule to
 * every earlier one, in quadratic time. Here the content of a merged rule is computed when it is read.
 */
export function mergedOf(host: string, rules: readonly DestinationRule[]): readonly MergedDestinationRule[] {
  const [only] = rules;
  if (only !== undefined && rules.length === 1) return [beginning(host, only, () => new Followers(rules).of(0))];
  const sorted = rules.toSorted(selectorsFirst);
  const followers = new Followers(sorted);
  const merged: MergedDestinationRule[] = [];
  let last: DestinationRule | undefined;
  for (const [i, rule] of sorted.entries()) {
    if (last !== undefined && !standsApart(rule, last)) continue;
    merged.push(beginning(host, rule, () => followers.of(i)));
    last = rule;
  }
  return merged;
}

const beginning = (host: string, rule: DestinationRule, follow: () => readonly RulePart[]): MergedDestinationRule =>
  isMadeOfPolicies(rule) ? new MergedIntoPolicies(host, rule, follow) : new Merged(host, rule, follow);

/** Istio pilot/pkg/model/push_context.go sortConfigBySelectorAndCreationTime. */
const selectorsFirst = (a: DestinationRule, b: DestinationRule): number =>
  Number(selectorOf(a) === undefined) - Number(selectorOf(b) === undefined) || oldestFirst(a, b);

function standsApart(rule: DestinationRule, last: DestinationRule): boolean {
  const exported = compareExports(exportSetOf(rule), exportSetOf(last));
  if (exported === "other") return true;
  const selected = compareSelectors(selectorOf(rule), selectorOf(last));
  return selected === "one" ? exported !== "same" : selected === "other";
}

function compareExports(added: ReadonlySet<string>, existing: ReadonlySet<string>): "same" | "wider" | "other" {
  const isSuperset = added.isSupersetOf(existing);
  if (isSuperset && added.size === existing.size) return "same";
  return isSuperset && existing.size > 0 ? "wider" : "other";
}

function compareSelectors(added: Labels | undefined, existing: Labels | undefined): "same" | "one" | "other" {
  if (added === undefined && existing === undefined) return "same";
  if (added === undefined || existing === undefined) return "one";
  return selects(added, existing) && selects(existing, added) ? "same" : "other";
}

/** The rules of a sequence from a position on, in Istio's order. */
export interface RulePart {
  readonly sequence: RuleSequence;
  readonly start: number;
}

/** The subsets of most rules. They are compared one by one. */
const fewSubsets = 8;

/** Rules in Istio's order. */
export class RuleSequence {
  readonly rules: readonly DestinationRule[];
  #last: ReadonlyMap<string, number> | undefined;
  #withPolicy: readonly (DestinationRule | undefined)[] | undefined;

  constructor(rules: readonly DestinationRule[]) {
    this.rules = rules;
  }

  defines(subset: string, start: number): boolean {
    const [first] = this.rules;
    if (first !== undefined && this.rules.length === 1 && first.spec.subsets.length <= fewSubsets)
      return start === 0 && first.spec.subsets.some(({ name }) => name === subset);
    this.#last ??= new Map(this.rules.flatMap(({ spec }, i) => spec.subsets.map(({ name }) => [name, i] as const)));
    return (this.#last.get(subset) ?? -1) >= start;
  }

  /** The first rule from this position on that has a traffic policy. */
  policyFrom(start: number): DestinationRule | undefined {
    if (this.#withPolicy === undefined) {
      const found: (DestinationRule | undefined)[] = [];
      for (let i = this.rules.length - 1; i >= 0; i--)
        found[i] = this.rules[i]?.spec.trafficPolicy === undefined ? found[i + 1] : this.rules[i];
      this.#withPolicy = found;
    }
    return this.#withPolicy[start];
  }
}

/** Finds the rules that are merged into an earlier one. */
class Followers {
  readonly #sorted: readonly DestinationRule[];
  #selecting:
    | ReadonlyMap<string, { readonly sequence: RuleSequence; readonly places: ReadonlyMap<number, number> }>
    | undefined;
  #privates: RuleSequence | undefined;
  /** The positions of rules without a selector by the namespaces in exportTo; with an empty exportTo, under `""`. */
  #exported: ReadonlyMap<string, readonly number[]> | undefined;

  constructor(sorted: readonly DestinationRule[]) {
    this.#sorted = sorted;
  }

  /** The rule at a position, and the later ones that are merged into it. */
  of(place: number): readonly RulePart[] {
    const rule = this.#sorted[place] as DestinationRule;
    if (selectorOf(rule) === undefined)
      return [{ sequence: new RuleSequence(this.#withoutSelector(rule, place)), start: 0 }];
    this.#selecting ??= this.#bySelector();
    const { sequence, places } = this.#selecting.get(keyOfSelector(rule)) ?? {
      sequence: new RuleSequence([rule]),
      places: new Map(),
    };
    this.#privates ??= new RuleSequence(
      this.#sorted.filter((other) => selectorOf(other) === undefined && exportSetOf(other).has(".")),
    );
    return [
      { sequence, start: places.get(place) ?? 0 },
      { sequence: this.#privates, start: 0 },
    ];
  }

  #bySelector() {
    const found = new Map<string, { readonly rules: DestinationRule[]; readonly places: Map<number, number> }>();
    for (const [place, rule] of this.#sorted.entries()) {
      if (selectorOf(rule) === undefined) break;
      const key = keyOfSelector(rule);
      const same = found.get(key) ?? { rules: [], places: new Map<number, number>() };
      found.set(key, same);
      same.places.set(place, same.rules.length);
      same.rules.push(rule);
    }
    return new Map([...found].map(([key, { rules, places }]) => [key, { sequence: new RuleSequence(rules), places }]));
  }

  #withoutSelector(rule: DestinationRule, place: number): readonly DestinationRule[] {
    if (place === this.#sorted.length - 1) return [rule];
    this.#exported ??= this.#byExport();
    const exported = exportSetOf(rule);
    let candidates = this.#exported.get("") ?? [];
    if (exported.size > 0) {
      const [first, ...more] = [...exported].map((to) => this.#exported?.get(to) ?? []);
      candidates = more.reduce((fewest, other) => (other.length < fewest.length ? other : fewest), first ?? []);
    }
    const later = candidates.filter((i) => i > place).map((i) => this.#sorted[i] as DestinationRule);
    return [rule, ...later.filter((other) => compareExports(exportSetOf(other), exported) !== "other")];
  }

  #byExport(): ReadonlyMap<string, readonly number[]> {
    const found = new Map<string, number[]>();
    for (const [place, rule] of this.#sorted.entries()) {
      if (selectorOf(rule) !== undefined) continue;
      const exported = exportSetOf(rule);
      for (const to of exported.size === 0 ? [""] : exported) {
        const places = found.get(to);
        if (places === undefined) found.set(to, [place]);
        else places.push(place);
      }
    }
    return found;
  }
}

const keyOfSelector = (rule: DestinationRule): string =>
  JSON.stringify(Object.entries(selectorOf(rule) ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));

class Merged implements MergedDestinationRule {
  readonly made: DestinationRule | undefined;
  readonly host: string;
  readonly namespace: string;
  readonly exportTo: ReadonlySet<string>;
  readonly selector: Labels | undefined;
  readonly #follow: () => readonly RulePart[];
  #parts: readonly RulePart[] | undefined;
  #from: readonly DestinationRule[] | undefined;
  #subsets: readonly Subset[] | undefined;
  #places: ReadonlyMap<Subset, SubsetPlace> | undefined;

  constructor(host: string, rule: DestinationRule, follow: () => readonly RulePart[]) {
    this.host = host;
    this.made = isMadeOfPolicies(rule) ? rule : undefined;
    this.namespace = rule.metadata.namespace;
    this.exportTo = exportSetOf(rule);
    this.selector = selectorOf(rule);
    this.#follow = follow;
  }

  get parts(): readonly RulePart[] {
    this.#parts ??= this.#follow();
    return this.#parts;
  }
  get from(): readonly DestinationRule[] {
    this.#from ??= this.parts.flatMap(({ sequence, start }) => sequence.rules.slice(start));
    return this.#from;
  }
  get trafficPolicy(): TrafficPolicy {
    return this.policyRule?.spec.trafficPolicy;
  }
  get policyRule(): DestinationRule | undefined {
    for (const { sequence, start } of this.parts) {
      const rule = sequence.policyFrom(start);
      if (rule !== undefined) return rule;
    }
    return undefined;
  }
  get policySources(): Iterable<DestinationRule> {
    const { policyRule } = this;
    return policyRule === undefined ? [] : [policyRule];
  }
  settingAt(entry: number | undefined): SettingPlace {
    return { rule: this.policyRule, entry };
  }
  get subsets(): readonly Subset[] {
    if (this.#subsets === undefined) {
      const known = new Set<string>();
      this.#subsets = this.from.flatMap(({ spec }) => {
        const added = spec.subsets.filter(({ name }) => !known.has(name));
        for (const { name } of added) known.add(name);
        return added;
      });
    }
    return this.#subsets;
  }
  defines(subset: string): boolean {
    return this.parts.some(({ sequence, start }) => sequence.defines(subset, start));
  }
  placeOf(subset: Subset): SubsetPlace | undefined {
    this.#places ??= firstPlaces(this.from);
    return this.#places.get(subset);
  }
}

/** A rule that istiod makes of policies, and those of users that are merged into it. */
class MergedIntoPolicies extends Merged {
  #filled: FilledPolicy | undefined;
  #users: readonly DestinationRule[] | undefined;

  /** Of several rules that are made of policies the first counts, which always has a traffic policy. */
  get #policy(): FilledPolicy {
    const { made } = this;
    this.#filled ??= filledPolicy([...this.from.toReversed(), ...(made === undefined ? [] : [made])]);
    return this.#filled;
  }
  override get from(): readonly DestinationRule[] {
    this.#users ??= super.from.filter((rule) => !isMadeOfPolicies(rule));
    return this.#users;
  }
  override get trafficPolicy(): TrafficPolicy {
    return this.#policy.policy;
  }
  override get policyRule(): DestinationRule | undefined {
    return this.from.findLast(({ spec }) => spec.trafficPolicy !== undefined);
  }
  override get policySources(): Iterable<DestinationRule> {
    return this.#policy.sources;
  }
  override settingAt(entry: number | undefined): SettingPlace {
    const { wide, entries } = this.#policy;
    return entry === undefined ? { rule: wide, entry } : (entries[entry] ?? { rule: undefined, entry });
  }
}

function firstPlaces(rules: readonly DestinationRule[]): ReadonlyMap<Subset, SubsetPlace> {
  const places = new Map<Subset, SubsetPlace>();
  for (const rule of rules)
    for (const [i, subset] of rule.spec.subsets.entries()) if (!places.has(subset)) places.set(subset, { rule, i });
  return places;
}
