import { fact, type MeshView, relation } from "../../view/view.ts";
import { everyNamespace } from "./export-to.ts";
import { DestinationRulesByHost, type RulesOverHost } from "./destination-rule-lookup.ts";
import type { MergedDestinationRule } from "./destination-rule-merge.ts";
import { type DestinationRule, destinationRuleByHost, hostOfRule } from "./destination-rules.ts";
import { hostKey, namespaceOfHost } from "./hosts.ts";

type Subset = DestinationRule["spec"]["subsets"][number];

/** A DestinationRule and all DestinationRules, itself among them, of any namespace, for its host. */
export const destinationRulesOfSameHost = relation(
  "destinationRulesOfSameHost",
  destinationRuleByHost,
  destinationRuleByHost,
);

/** The DestinationRules of the namespaces for one host, which may be a wildcard, and for no wider one. */
const rulesOfSameHost = fact("rulesOfSameHost", "key", [destinationRulesOfSameHost], (host, mesh): RulesOverHost => {
  const rules = mesh.under(destinationRulesOfSameHost, [hostKey(host)]);
  const same = rules.filter((rule) => hostOfRule(rule, mesh.settings) === host);
  return new DestinationRulesByHost(same, mesh.settings).over(host);
});

/** What a DestinationRule loses to others for the same host. */
export interface Losses {
  /** It is not used at all, and this one is. */
  readonly whole: DestinationRule | undefined;
  /** Its traffic policy is not used, and this one's is. */
  readonly policy: DestinationRule | undefined;
  /** Subsets of the same name that are used instead of its own. */
  readonly subsets: readonly SubsetLoss[];
}
export interface SubsetLoss {
  readonly i: number;
  readonly name: string;
  readonly by: DestinationRule;
}

/**
 * What other DestinationRules for exactly the same host take from one. istiod merges those of one namespace: the traffic
 * policy of the oldest counts, and of two subsets with one name the older (Istio pilot/pkg/model/destination_rule.go
 * mergeDestinationRule). Of different namespaces, one is used (push_context.go destinationRule). A rule without a policy, or
 * with the same content, loses nothing.
 */
export const lossesOfRule = fact(
  "lossesOfRule",
  "DestinationRule",
  [destinationRulesOfSameHost, rulesOfSameHost],
  (rule, mesh): Losses => {
    const host = hostOfRule(rule, mesh.settings);
    const over = mesh.get(rulesOfSameHost, host);
    if (over.rules.length < 2) return nothing;
    const used = usedForItsClients(rule, over, mesh);
    const including = used.filter((merged) => partsOf(merged).rules.has(rule));
    if (including.length === 0) {
      const [winner] = used.flatMap(({ from }) => from.slice(0, 1));
      return { ...nothing, whole: winner };
    }
    return { whole: undefined, policy: policyLoss(rule, including), subsets: subsetLosses(rule, including) };
  },
);
const nothing: Losses = { whole: undefined, policy: undefined, subsets: [] };

/** What the clients that a rule is for use: those of its own namespace, and those that it is exported to. */
function usedForItsClients(
  rule: DestinationRule,
  over: RulesOverHost,
  mesh: MeshView,
): readonly MergedDestinationRule[] {
  const { metadata, spec } = rule;
  const host = hostOfRule(rule, mesh.settings);
  const owner = namespaceOfHost(host, mesh.settings.domain) ?? metadata.namespace;
  const named = spec.exportTo.filter((to) => ![everyNamespace, ".", "~"].includes(to));
  const clients = new Set([metadata.namespace, owner, "", ...named]);
  mesh.visited(clients.size);
  const used = [...clients].flatMap((client) => over.usedBy(client, owner));
  return [...new Set(used)].filter((one) => one !== undefined);
}

interface Parts {
  readonly rules: ReadonlySet<DestinationRule>;
  readonly byName: ReadonlyMap<string, Subset>;
}
const parts = new WeakMap<MergedDestinationRule, Parts>();

/** Each rule of a merged one asks for the same. */
function partsOf(merged: MergedDestinationRule): Parts {
  let found = parts.get(merged);
  if (found === undefined) {
    found = { rules: new Set(merged.from), byName: new Map(merged.subsets.map((subset) => [subset.name, subset])) };
    parts.set(merged, found);
  }
  return found;
}

function policyLoss(rule: DestinationRule, including: readonly MergedDestinationRule[]): DestinationRule | undefined {
  const { trafficPolicy } = rule.spec;
  if (trafficPolicy === undefined || including.some(({ policyRule }) => policyRule === rule)) return undefined;
  const [winner] = including.flatMap(({ policyRule }) => policyRule ?? []);
  return JSON.stringify(winner?.spec.trafficPolicy) === JSON.stringify(trafficPolicy) ? undefined : winner;
}

function subsetLosses(rule: DestinationRule, including: readonly MergedDestinationRule[]): readonly SubsetLoss[] {
  const own = new Map<string, number>();
  for (const [i, { name }] of rule.spec.subsets.entries()) if (!own.has(name)) own.set(name, i);
  return [...own].flatMap(([name, i]) => {
    const subset = rule.spec.subsets[i];
    const winners = including.map((merged) => [merged, partsOf(merged).byName.get(name)] as const);
    if (winners.some(([, winner]) => winner === subset)) return [];
    const [first] = winners;
    const winner = first?.[1];
    const by = winner === undefined ? undefined : first?.[0].placeOf(winner)?.rule;
    return by === undefined || JSON.stringify(winner) === JSON.stringify(subset) ? [] : [{ i, name, by }];
  });
}
