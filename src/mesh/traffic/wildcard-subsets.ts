import type { MeshSettings } from "../../view/settings.ts";
import { fact } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { readsRuleHosts, ruleHostsOver } from "./destination-rule-lookup.ts";
import { type DestinationRule, destinationRulesOfVirtualService, hostOfRule } from "./destination-rules.ts";
import { policyRulesOfSubsets } from "./subset-policies.ts";
import { routedToSubsets, virtualServicesToWildcardSubsets } from "./subset-use.ts";
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

export const wildcardSubsetName = (wildcard: string, subset: string): string => `${wildcard}\n${subset}`;

/**
 * The subsets of DestinationRules for wildcards with a hostKey, to which requests are routed, by wildcardSubsetName. A cluster of a
 * subset has the endpoints of its own host, also if the rule is for a wildcard (Istio pilot/pkg/model/push_context.go
 * destinationRule, pilot/pkg/xds/endpoints/endpoint_builder.go getSubSetLabels), and of several rules the most specific is used.
 */
export const wildcardSubsets = fact(
  "wildcardSubsets",
  "key",
  [
    ...[virtualServicesToWildcardSubsets, routedToSubsets, policyRulesOfSubsets],
    ...[destinationRulesOfVirtualService, ...readsRuleHosts],
  ],
  (key, mesh): ReadonlyMap<string, WildcardSubset> => {
    const found = definedIn(mesh.under(destinationRulesOfVirtualService, [key]), mesh.settings);
    const wildcards = new Map<string, string | undefined>();
    const wildcardOf = (host: string): string | undefined => {
      if (!wildcards.has(host)) {
        const isHidden = mesh.get(policyRulesOfSubsets, host).length > 0;
        wildcards.set(host, isHidden ? undefined : ruleHostsOver(host, mesh)[0]);
      }
      return wildcards.get(host);
    };
    for (const virtualService of mesh.under(virtualServicesToWildcardSubsets, [key]))
      for (const [requests, root] of mesh.get(routedToSubsets, virtualService)) {
        const [host = "", subset = ""] = requests.split("\n", 2);
        const wildcard = wildcardOf(host);
        const hosts = wildcard === undefined ? undefined : found.get(wildcardSubsetName(wildcard, subset))?.hosts;
        if (hosts === undefined) continue;
        const users = hosts.get(host) ?? new Map<string, User>();
        hosts.set(host, users);
        if (!users.has(requests)) users.set(requests, [virtualService, root]);
      }
    return found;
  },
);

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
