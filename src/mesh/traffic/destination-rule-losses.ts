import { fact, relation } from "../../view/view.ts";
import type { BackendTlsPolicy } from "./backend-tls-policies.ts";
import { everyNamespace } from "./export-to.ts";
import { DestinationRulesByHost } from "./destination-rule-lookup.ts";
import type { RulesOverHost, UsedDestinationRules } from "./destination-rules-of-host.ts";
import type { MergedDestinationRule, RulePart, RuleSequence } from "./destination-rule-merge.ts";
import { entriesOfDestinationRule, servicesOfDestinationRule } from "./destination-rule-services.ts";
import { type DestinationRule, destinationRuleByHost, hostOfRule } from "./destination-rules.ts";
import { hostKey, namespaceOfHost } from "./hosts.ts";
import { policyRuleReads, policiesOf, policyRulesFor } from "./policy-rules.ts";

/** A DestinationRule and all DestinationRules, itself among them, of any namespace, for its host. */
export const destinationRulesOfSameHost = relation(
  "destinationRulesOfSameHost",
  destinationRuleByHost,
  destinationRuleByHost,
);

/** The DestinationRules for one host, which may be a wildcard, and for no wider one. Istiod makes some of them of BackendTLSPolicies. */
const rulesOfSameHost = fact(
  "rulesOfSameHost",
  "key",
  [...[destinationRulesOfSameHost, servicesOfDestinationRule, entriesOfDestinationRule], ...policyRuleReads],
  (host, mesh): SameHost => {
    const rules = mesh.under(destinationRulesOfSameHost, [hostKey(host)]);
    const same = rules.filter((rule) => hostOfRule(rule, mesh.settings) === host);
    const definitions = [
      ...mesh.under(servicesOfDestinationRule, [host]),
      ...mesh.under(entriesOfDestinationRule, [host]),
    ];
    const made = policyRulesFor(host, definitions, mesh);
    return new SameHost(new DestinationRulesByHost([...made, ...same], mesh.settings).over(host));
  },
);

/** What a DestinationRule loses to others for the same host. */
export interface Losses {
  /** It is not used at all, and this one is, or what istiod makes of it. */
  readonly whole: DestinationRule | BackendTlsPolicy | undefined;
  readonly policy: PolicyLoss | undefined;
  /** Subsets of the same name that are used instead of its own. */
  readonly subsets: readonly SubsetLoss[];
}
/** The traffic policy is not used, and this one's is. */
export interface PolicyLoss {
  readonly by: DestinationRule;
  /** The BackendTLSPolicy because of which the newest rule counts; undefined: the oldest counts. */
  readonly beside: BackendTlsPolicy | undefined;
}
export interface SubsetLoss {
  readonly i: number;
  readonly name: string;
  readonly by: DestinationRule;
}

/**
 * What other DestinationRules for exactly the same host take from one. istiod merges those of one namespace: the traffic
 * policy of the oldest counts, and of two subsets with one name the older (Istio pilot/pkg/model/destination_rule.go
 * mergeDestinationRule), but beside a BackendTLSPolicy the newest counts, and older ones fill it. Of different namespaces, one is used (push_context.go destinationRule). A rule without a policy, or
 * with the same content, loses nothing.
 */
export const lossesOfRule = fact(
  "lossesOfRule",
  "DestinationRule",
  [destinationRulesOfSameHost, rulesOfSameHost],
  (rule, mesh): Losses => {
    const host = hostOfRule(rule, mesh.settings);
    const same = mesh.get(rulesOfSameHost, host);
    if (same.over.rules.length < 2) return nothing;
    const owner = namespaceOfHost(host, mesh.settings.domain) ?? rule.metadata.namespace;
    const names = clientsOfRule(rule, owner);
    mesh.visited(names.length);
    // Most clients that a rule names in exportTo use the same.
    const clients = [...new Set(names.map((client) => same.usedBy(client, owner)))];
    const including = clients.flatMap((used) => used.including(rule));
    if (including.length === 0) return { ...nothing, whole: clients.flatMap(({ first }) => first ?? [])[0] };
    const isPolicyUsed = clients.some(({ policies }) => policies.has(rule));
    return {
      whole: undefined,
      policy: isPolicyUsed ? undefined : policyLoss(rule, including),
      subsets: subsetLosses(rule, including),
    };
  },
);
const nothing: Losses = { whole: undefined, policy: undefined, subsets: [] };

/** Clients of its own namespace, and those that it is exported to; `""`: any other. */
function clientsOfRule({ metadata, spec }: DestinationRule, owner: string): readonly string[] {
  const named = spec.exportTo.filter((to) => ![everyNamespace, ".", "~"].includes(to));
  return [...new Set([metadata.namespace, owner, "", ...named])];
}

/** The DestinationRules of one host, and what clients use of them. */
class SameHost {
  readonly over: RulesOverHost;
  readonly #used = new Map<UsedDestinationRules, UsedByClient>();

  constructor(over: RulesOverHost) {
    this.over = over;
  }

  usedBy(client: string, owner: string): UsedByClient {
    const rules = this.over.usedBy(client, owner);
    let used = this.#used.get(rules);
    if (used === undefined) this.#used.set(rules, (used = new UsedByClient(rules.filter((one) => one !== undefined))));
    return used;
  }
}

/** A merged DestinationRule with a rule in it, and whether it is the only one for that client. */
interface Including {
  readonly merged: MergedDestinationRule;
  readonly isOnly: boolean;
}

/** The merged DestinationRules that clients of a namespace use; several if their labels decide. */
class UsedByClient {
  readonly first: DestinationRule | BackendTlsPolicy | undefined;
  /** The rules of whose traffic policy anything is used. */
  readonly policies: ReadonlySet<DestinationRule>;
  /** Merged rules share sequences: for each, the merged rule that begins first in it. */
  readonly #bySequence = new Map<RuleSequence, { start: number; merged: MergedDestinationRule; count: number }>();
  readonly #places = new Map<DestinationRule, (readonly [RuleSequence, number])[]>();

  constructor(used: readonly MergedDestinationRule[]) {
    for (const merged of used) for (const part of merged.parts) this.#enter(merged, part);
    for (const sequence of this.#bySequence.keys())
      for (const [place, rule] of sequence.rules.entries()) {
        const places = this.#places.get(rule);
        if (places === undefined) this.#places.set(rule, [[sequence, place]]);
        else places.push([sequence, place]);
      }
    this.policies = new Set(used.flatMap(({ policySources }) => [...policySources]));
    const [first] = used;
    this.first = first?.from[0] ?? policyBehind(first);
  }

  #enter(merged: MergedDestinationRule, { sequence, start }: RulePart): void {
    const there = this.#bySequence.get(sequence);
    const count = (there?.count ?? 0) + 1;
    const isFirst = there === undefined || start < there.start;
    this.#bySequence.set(sequence, isFirst ? { start, merged, count } : { ...there, count });
  }

  including(rule: DestinationRule): readonly Including[] {
    return (this.#places.get(rule) ?? []).flatMap(([sequence, place]) => {
      const there = this.#bySequence.get(sequence);
      return there === undefined || place < there.start ? [] : [{ merged: there.merged, isOnly: there.count === 1 }];
    });
  }
}

/** One of the policies of which istiod makes the rule that others are merged with. */
const policyBehind = (merged: MergedDestinationRule | undefined): BackendTlsPolicy | undefined =>
  merged?.made && policiesOf(merged.made)[0];

function policyLoss(rule: DestinationRule, including: readonly Including[]): PolicyLoss | undefined {
  const { trafficPolicy } = rule.spec;
  if (trafficPolicy === undefined) return undefined;
  const [merged] = including.flatMap((one) => (one.merged.policyRule === undefined ? [] : [one.merged]));
  const by = merged?.policyRule;
  if (by === undefined || JSON.stringify(by.spec.trafficPolicy) === JSON.stringify(trafficPolicy)) return undefined;
  return { by, beside: policyBehind(merged) };
}

/** Only where one merged rule has the subsets: in others, fewer rules come first. */
function subsetLosses(rule: DestinationRule, including: readonly Including[]): readonly SubsetLoss[] {
  if (including.some(({ isOnly }) => !isOnly)) return [];
  const own = new Map<string, number>();
  for (const [i, { name }] of rule.spec.subsets.entries()) if (!own.has(name)) own.set(name, i);
  return [...own].flatMap(([name, i]) => {
    const subset = rule.spec.subsets[i];
    const winners = including.map(({ merged }) => firstDefining(name, merged));
    if (winners.includes(rule)) return [];
    const [by] = winners;
    const winner = by?.spec.subsets.find((one) => one.name === name);
    return by === undefined || JSON.stringify(winner) === JSON.stringify(subset) ? [] : [{ i, name, by }];
  });
}

/** The rule whose subset of a name is used. */
function firstDefining(name: string, { parts }: MergedDestinationRule): DestinationRule | undefined {
  for (const { sequence, start } of parts) {
    const place = placesOf(sequence)
      .get(name)
      ?.find((one) => one >= start);
    if (place !== undefined) return sequence.rules[place];
  }
  return undefined;
}

const places = new WeakMap<RuleSequence, ReadonlyMap<string, readonly number[]>>();

/** The positions of the rules that define a subset, by its name. Merged rules share sequences. */
function placesOf(sequence: RuleSequence): ReadonlyMap<string, readonly number[]> {
  let found = places.get(sequence);
  if (found === undefined) {
    const all = sequence.rules.flatMap(({ spec }, place) =>
      [...new Set(spec.subsets.map(({ name }) => name))].map((name) => [name, place] as const),
    );
    found = new Map([...Map.groupBy(all, ([name]) => name)].map(([name, some]) => [name, some.map(([, at]) => at)]));
    places.set(sequence, found);
  }
  return found;
}
