import {
  type DestinationRule,
  destinationRuleOf,
  destinationRulesFor,
  destinationRulesOfSome,
  isForEveryWorkload,
  type MergedDestinationRule,
} from "./destination-rules.ts";
import type { MeshSettings } from "../../view/settings.ts";

/** A host and subset that requests are sent to, with the related objects. */
export interface SubsetTarget {
  /** The host as istiod resolves it. */
  readonly host: string;
  readonly subset: string;
  /** The namespaces of the service's configuration. Empty: the service is not known, so any namespace is possible. */
  readonly serviceNamespaces: ReadonlySet<string>;
  /** The DestinationRules that can match the host. */
  readonly rules: readonly DestinationRule[];
}

/** The result of a subset look-up for clients of one namespace. */
export interface SubsetLookup {
  /** Whether none, some or all of the workloads have the subset. */
  readonly definedFor: "none" | "some" | "all";
  /** The DestinationRules that those without it use instead; empty: they use none. */
  readonly used: readonly DestinationRule[];
  /** The subsets that these define, in Istio's order. */
  readonly subsets: readonly string[];
}

/**
 * Whether clients in a namespace have a cluster for the subset: the DestinationRule that istiod gives them must define
 * it (Istio pilot/pkg/networking/core/cluster_builder.go applyDestinationRule). Without labels, every workload of the
 * namespace is considered. If the namespace of the service is uncertain, the one with the best result is used.
 */
export function lookUpSubset(
  client: string,
  target: SubsetTarget,
  settings: MeshSettings,
  labels?: Readonly<Record<string, string>>,
): SubsetLookup {
  let best: SubsetLookup | undefined;
  for (const namespace of possibleNamespaces(target)) {
    const merged = destinationRulesFor(client, { host: target.host, namespace }, target.rules, settings);
    const found =
      labels === undefined ? destinationRulesOfSome(client, merged) : [destinationRuleOf(labels, client, merged)];
    const lookup = lookupOf(found, target.subset);
    if (best === undefined || rank(lookup) > rank(best)) best = lookup;
  }
  return best ?? lookupOf([], target.subset);
}

/**
 * Whether every client finds the subset, in the usual case that needs no look at the clients: only one rule may cover the
 * host, it is visible to all, and it is in a namespace that all clients search. If false, clients may still find it.
 */
export function isDefinedForAll({ rules, subset, serviceNamespaces }: SubsetTarget, settings: MeshSettings): boolean {
  const [rule] = rules;
  if (rule === undefined || rules.length > 1 || !isForEveryWorkload(rule, settings) || !defines(rule, subset))
    return false;
  const { namespace } = rule.metadata;
  return serviceNamespaces.size === 0 || serviceNamespaces.has(namespace) || namespace === settings.rootNamespace;
}

export const defines = ({ spec }: DestinationRule, subset: string): boolean =>
  spec.subsets.some(({ name }) => name === subset);

const rank = ({ definedFor, used }: SubsetLookup): number =>
  ["none", "some", "all"].indexOf(definedFor) * 2 + Number(used.length > 0);

function possibleNamespaces({ serviceNamespaces, rules }: SubsetTarget): Iterable<string | undefined> {
  if (serviceNamespaces.size > 0) return serviceNamespaces;
  return new Set([undefined, ...rules.map(({ metadata }) => metadata.namespace)]);
}

function lookupOf(found: readonly (MergedDestinationRule | undefined)[], subset: string): SubsetLookup {
  const without = found.filter((rule) => !rule?.subsets.some(({ name }) => name === subset));
  const all = without.length === 0 && found.length > 0;
  return {
    definedFor: all ? "all" : without.length === found.length ? "none" : "some",
    used: [...new Set(without.flatMap((rule) => rule?.from ?? []))],
    subsets: [...new Set(without.flatMap((rule) => rule?.subsets.map(({ name }) => name) ?? []))],
  };
}

/** Stands for every namespace that no object names; all of them have the same look-up result. */
export const anyOtherNamespace = "";

/** The client namespaces whose look-up results can differ from those of all others. */
export const namespacesThatMatter = ({ serviceNamespaces, rules }: SubsetTarget): ReadonlySet<string> =>
  new Set([
    ...rules.map(({ metadata }) => metadata.namespace).sort(),
    ...[...serviceNamespaces].sort(),
    ...rules.flatMap(({ spec }) => spec.exportTo.filter((to) => to !== "*" && to !== ".")).sort(),
    anyOtherNamespace,
  ]);
