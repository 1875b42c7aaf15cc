import { fact, type MeshView, relation } from "../../view/view.ts";
import { definingEntriesOfAlias, serviceOfAlias } from "./aliased-hosts.ts";
import { backendTlsPoliciesOfService } from "./backend-tls-policies.ts";
import { entryByHost, serviceByHost } from "./definition-choice.ts";
import { type DestinationRule, exactSubsetHosts } from "./destination-rules.ts";
import { hasPolicyRules, policyRuleReads, policyRulesFor } from "./policy-rules.ts";
import { aliasesOfSubsets } from "./subset-aliases.ts";

/** A VirtualService and the Services of which it names subsets. */
export const servicesOfSubsets = relation("servicesOfSubsets", exactSubsetHosts, serviceByHost);
/** A VirtualService and the ServiceEntries that define exactly a host of which it names subsets. */
export const entriesOfSubsets = relation("entriesOfSubsets", exactSubsetHosts, entryByHost);

const none: readonly DestinationRule[] = [];

/**
 * The DestinationRules that istiod makes of BackendTLSPolicies for a host of which subsets are used. They define no subset, and clients
 * use them instead of rules for wider hosts and of those in the root namespace.
 */
export const policyRulesOfSubsets = fact(
  "policyRulesOfSubsets",
  "key",
  [
    ...[servicesOfSubsets, entriesOfSubsets, ...policyRuleReads],
    ...[aliasesOfSubsets, serviceOfAlias, definingEntriesOfAlias],
  ],
  (host, mesh): readonly DestinationRule[] => {
    const definitions = [...mesh.under(servicesOfSubsets, [host]), ...mesh.under(entriesOfSubsets, [host])];
    const made = policyRulesFor(host, definitions, mesh);
    return made.length === 0 ? none : made;
  },
);

/** What `policyRulesAt` reads. */
export const policyRulesAtReads = [policyRulesOfSubsets, backendTlsPoliciesOfService] as const;

/** The same. Most meshes have no such policy, so that no host needs to be looked up. */
export const policyRulesAt = (
  host: string,
  mesh: MeshView<(typeof policyRulesAtReads)[number]>,
): readonly DestinationRule[] => (hasPolicyRules(mesh) ? mesh.get(policyRulesOfSubsets, host) : none);
