import {
  type DestinationRule,
  destinationRuleOf,
  destinationRulesFor,
  destinationRulesOfSome,
  type MergedDestinationRule,
} from "./destination-rules.ts";
import type { MeshSettings } from "../../view/settings.ts";

/** A host and subset that requests are sent to, and what is known of both. */
export interface SubsetTarget {
  /** As istiod resolves it. */
  readonly host: string;
  readonly subset: string;
  /** Where the service's configuration may come from; none: nobody has shown the service, so that it may be any. */
  readonly serviceNamespaces: ReadonlySet<string>;
  /** The DestinationRules that may cover the host. */
  readonly rules: readonly DestinationRule[];
}

/** What clients of one namespace find when they look a subset up. */
export interface SubsetLookup {
  /** Whether none, some or all of the workloads have the subset. */
  readonly definedFor: "none" | "some" | "all";
  /** The DestinationRules that those without it use instead; empty: they use none. */
  readonly used: readonly DestinationRule[];
  /** What these define, in Istio's order. */
  readonly subsets: readonly string[];
}

/**
 * Whether clients in a namespace have a cluster for the subset: the DestinationRule that istiod gives them must define
 * it (Istio pilot/pkg/networking/core/cluster_builder.go applyDestinationRule). Without labels, any workload of the
 * namespace may be meant. Where the service's namespace is uncertain, the one that serves the clients best counts.
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

/** No namespace that anything names: what a look-up from there finds, every other namespace finds. */
export const anyOtherNamespace = "";

/** The namespaces from which a look-up may find something else than from any other one. */
export const namespacesThatMatter = ({ serviceNamespaces, rules }: SubsetTarget): ReadonlySet<string> =>
  new Set([
    ...rules.map(({ metadata }) => metadata.namespace).sort(),
    ...[...serviceNamespaces].sort(),
    ...rules.flatMap(({ spec }) => spec.exportTo.filter((to) => to !== "*" && to !== ".")).sort(),
    anyOtherNamespace,
  ]);
