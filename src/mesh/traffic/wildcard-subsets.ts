import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { readsRuleHosts, ruleHostsOver } from "./destination-rule-lookup.ts";
import {
  destinationRuleByHost,
  type DestinationRule,
  destinationRulesOfVirtualService,
  hostOfRule,
} from "./destination-rules.ts";
import { coveringHosts, isWildcard } from "./hosts.ts";
import { policyRulesAt, policyRulesAtReads, policyRulesOfSubsets } from "./subset-policies.ts";
import { delegatedToSubsets, routedToSubsets, virtualServicesToWildcardSubsets } from "./subset-use.ts";
import type { VirtualService } from "./virtual-services.ts";

/** A VirtualService that sends requests to a subset, and itself or the one that delegates them to it. */
type User = readonly [virtualService: VirtualService, root: VirtualService];

/** A subset of a wildcard, of which the hosts that it covers have one each. */
export interface WildcardSubset {
  /** The rules that define it, of each namespace the oldest: the others are merged with it (destination-rule-merge.ts). */
  readonly definedBy: ReadonlySet<DestinationRule>;
  /** The users of the subset of each host for which no rule is more specific, by subsetKey. */
  readonly hosts: ReadonlyMap<string, ReadonlyMap<string, User>>;
}

/** A DestinationRule for a wildcard that defines subsets, and those for hosts and wildcards that it covers, which come before it. */
const destinationRulesBelow = relation(
  "destinationRulesBelow",
  virtualServicesToWildcardSubsets.from,
  index("DestinationRule", (rule, settings) => [...destinationRuleByHost.keys(rule, settings)].flatMap(coveringHosts)),
);

const reads = [
  ...[virtualServicesToWildcardSubsets, delegatedToSubsets, ...policyRulesAtReads],
  ...[destinationRulesOfVirtualService, ...readsRuleHosts],
] as const;

export const wildcardSubsetName = (wildcard: string, subset: string): string => `${wildcard}\n${subset}`;

/**
 * The subsets of DestinationRules for wildcards with a hostKey, to which requests are routed, by wildcardSubsetName. A cluster of a
 * subset has the endpoints of its own host, also if the rule is for a wildcard (Istio pilot/pkg/model/push_context.go
 * destinationRule, pilot/pkg/xds/endpoints/endpoint_builder.go getSubSetLabels), and of several rules the most specific is used.
 */
export const wildcardSubsets = fact("wildcardSubsets", "key", reads, (key, mesh) => new WildcardSubsets(key, mesh));
/**
 * How changes reach the rules for wildcards. Over the VirtualServices that other rules match too, a change would reach the rules of
 * all their hosts, whose own subsets have no part in this.
 */
export const waysToWildcardSubsets = [
  ...[virtualServicesToWildcardSubsets, delegatedToSubsets, policyRulesOfSubsets, destinationRulesBelow],
];

type View = MeshView<(typeof reads)[number]>;

/** Most VirtualServices of a mesh may use the subsets of `*.local`, so whoever asks first follows them step by step. */
class WildcardSubsets {
  readonly #mesh: View;
  readonly #found: ReadonlyMap<string, Found>;
  /** The names of these subsets without their wildcards. */
  readonly #names: ReadonlySet<string>;
  readonly #users: Iterator<VirtualService>;
  readonly #wildcards = new Map<string, string | undefined>();

  constructor(key: string, mesh: View) {
    this.#mesh = mesh;
    const rules = mesh.under(destinationRulesOfVirtualService, [key]);
    this.#found = definedIn(rules, mesh.settings);
    this.#names = new Set(rules.flatMap(({ spec }) => spec.subsets.map(({ name }) => name)));
    this.#users = mesh.under(virtualServicesToWildcardSubsets, [key]).values();
  }

  /** A step for each VirtualService that nobody has followed yet. */
  *subsets(): Generator<undefined, ReadonlyMap<string, WildcardSubset>> {
    for (let next = this.#users.next(); next.done !== true; next = this.#users.next()) {
      this.#follow(next.value);
      yield undefined;
    }
    return this.#found;
  }

  #follow(virtualService: VirtualService): void {
    for (const [requests, root] of routedToSubsets(virtualService, this.#mesh)) {
      const [host = "", subset = ""] = requests.split("\n", 2);
      if (!this.#names.has(subset)) continue;
      const wildcard = this.#wildcardOf(host);
      const hosts = wildcard === undefined ? undefined : this.#found.get(wildcardSubsetName(wildcard, subset))?.hosts;
      if (hosts === undefined) continue;
      const users = hosts.get(host) ?? new Map<string, User>();
      hosts.set(host, users);
      if (!users.has(requests)) users.set(requests, [virtualService, root]);
    }
  }

  #wildcardOf(host: string): string | undefined {
    if (!this.#wildcards.has(host)) this.#wildcards.set(host, this.#findWildcard(host));
    return this.#wildcards.get(host);
  }

  /** Most hosts have a rule of their own, which needs no further look-up. */
  #findWildcard(host: string): string | undefined {
    if (!isWildcard(host) && this.#mesh.hasUnder(destinationRulesOfVirtualService, host)) return undefined;
    return policyRulesAt(host, this.#mesh).length > 0 ? undefined : ruleHostsOver(host, this.#mesh)[0];
  }
}

interface Found {
  readonly definedBy: Set<DestinationRule>;
  readonly hosts: Map<string, Map<string, User>>;
}

function definedIn(rules: readonly DestinationRule[], settings: MeshSettings): ReadonlyMap<string, Found> {
  const found = new Map<string, Found>();
  const known = new Set<string>();
  for (const rule of rules.toSorted(oldestFirst))
    for (const { name } of rule.spec.subsets) {
      const subset = wildcardSubsetName(hostOfRule(rule, settings), name);
      const place = `${rule.metadata.namespace}\n${subset}`;
      if (known.has(place)) continue;
      known.add(place);
      const definition = found.get(subset) ?? { definedBy: new Set(), hosts: new Map() };
      found.set(subset, definition);
      definition.definedBy.add(rule);
    }
  return found;
}
