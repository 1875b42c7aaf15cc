import { KeptIn } from "../../view/kept-in.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import {
  destinationRuleOf,
  type RulesOverHost,
  unusedDestinationRules,
  type UsedDestinationRules,
} from "./destination-rules-of-host.ts";
import { isMadeOfPolicies } from "./backend-policy-merge.ts";
import type { MergedDestinationRule, RuleSequence } from "./destination-rule-merge.ts";
import type { DestinationRule } from "./destination-rules.ts";

/** The result of a subset look-up for clients of one namespace. */
export interface SubsetLookup {
  /** Whether none, some or all of the workloads have the subset. */
  readonly definedFor: "none" | "some" | "all";
  /** The DestinationRules of users that those without it use instead; empty: they use none. */
  readonly used: readonly DestinationRule[];
  /** Those among them that istiod makes of BackendTLSPolicies. They define no subset, and hide those of wider hosts. */
  readonly made: readonly DestinationRule[];
  /** The subsets that these define, in Istio's order. */
  readonly subsets: readonly string[];
}

/** The rules that clients of a namespace can use: one of several if the namespace of the service is uncertain. */
interface SubsetChoices {
  readonly all: Iterable<UsedDestinationRules>;
  lookUp(subset: string): SubsetLookup;
}

/** Namespaces whose clients use the same rules. */
interface AlikeClients {
  readonly namespaces: readonly string[];
  readonly choices: SubsetChoices;
}

/** So few subsets are compared one by one. */
const fewSubsets = 8;

/** After this many look-ups, all defined subsets of a host are collected. */
const fewAsked = 4;

/** Stands for every namespace that no object names; all of them have the same look-up result. */
export const anyOtherNamespace = "";

/** A host and subset that requests are sent to. */
export interface SubsetTarget {
  /** The host as istiod resolves it. */
  readonly host: string;
  readonly subset: string;
  readonly subsets: SubsetsOfHost;
}

/**
 * Whether clients in a namespace have a cluster for a subset: the DestinationRule that istiod gives them must define it
 * (Istio pilot/pkg/networking/core/cluster_builder.go applyDestinationRule). If the namespace of the service is uncertain,
 * the one with the best result is used. Hosts with the same DestinationRules and service namespaces share one object.
 */
export class SubsetsOfHost {
  readonly rules: RulesOverHost;
  /** The namespaces of the service's configuration. Empty: the service is not known, so any namespace is possible. */
  readonly serviceNamespaces: ReadonlySet<string>;
  readonly #settings: MeshSettings;
  readonly #byClient = new SmallMap<string, SubsetChoices>();
  #unused: SubsetChoices | undefined;
  readonly #alike = new SmallMap<ReadonlySet<string>, readonly AlikeClients[]>();
  #forAll: DestinationRule | "none" | undefined;
  readonly #definedForAll = new SmallMap<string, boolean>();
  #clients: ReadonlySet<string> | undefined;
  #preceded: Map<string, ReadonlySet<string>> | undefined;
  #known: ReadonlySet<string> | undefined;
  #asked = 0;
  #owners: UnknownOwners | undefined;

  constructor(rules: RulesOverHost, serviceNamespaces: ReadonlySet<string>, settings: MeshSettings) {
    this.rules = rules;
    this.serviceNamespaces = serviceNamespaces;
    this.#settings = settings;
  }

  /** The client namespaces whose look-up results can differ from those of all others. */
  get clients(): ReadonlySet<string> {
    return (this.#clients ??= this.#findClients());
  }

  #findClients(): ReadonlySet<string> {
    const clients = new Set<string>();
    const { rules } = this.rules;
    addSorted(clients, new Set(rules.map(({ metadata }) => metadata.namespace)));
    addSorted(clients, this.serviceNamespaces);
    if (rules.some(({ spec }) => spec.exportTo.length > 0))
      addSorted(clients, new Set(rules.flatMap(({ spec }) => spec.exportTo.filter((to) => to !== "*" && to !== "."))));
    return clients.add(anyOtherNamespace);
  }

  /** The same, preceded by another namespace. */
  clientsAfter(namespace: string): ReadonlySet<string> {
    this.#preceded ??= new Map();
    const found = this.#preceded.get(namespace) ?? new Set([namespace, ...this.clients]);
    this.#preceded.set(namespace, found);
    return found;
  }

  /** The look-up result of clients in a namespace. Without labels, every workload of the namespace is considered. */
  lookUp(client: string, subset: string, labels?: Readonly<Record<string, string>>): SubsetLookup {
    const own = labels && this.rules.ownOf(client);
    if (own === undefined) return (labels ? this.#choicesOfGateways(client) : this.#choicesOf(client)).lookUp(subset);
    return lookupOf([destinationRuleOf(labels ?? {}, client, this.rules.seenBy(client, undefined))], subset);
  }

  /** The rules that clients would use if their own namespace had none; undefined: the service is not known, so it can be any. */
  otherwiseUsedBy(client: string): ReadonlySet<DestinationRule> | undefined {
    if (this.serviceNamespaces.size === 0) return undefined;
    const root = this.#settings.rootNamespace;
    const used = [...this.serviceNamespaces].flatMap(
      (owner) => this.rules.exportedTo(client, owner) ?? this.rules.exportedTo(client, root) ?? [],
    );
    return new Set(used.flatMap((merged) => merged?.from ?? []));
  }

  /** Whether the subset exists for every client, with any namespace and labels. */
  isDefinedForAll(subset: string): boolean {
    if (this.#isPlainlyDefined(subset)) return true;
    let known = this.#definedForAll.get(subset);
    if (known === undefined) {
      known = this.alike(this.clients).every(({ choices }) => choices.lookUp(subset).definedFor === "all");
      this.#definedForAll.set(subset, known);
    }
    return known;
  }

  /** Whether the subset exists for no client. */
  isNowhere(subset: string): boolean {
    if (this.#isPlainlyDefined(subset)) return false;
    if (this.#known === undefined && this.#asked++ < fewAsked)
      return this.alike(this.clients).every(({ choices }) => choices.lookUp(subset).definedFor === "none");
    this.#known ??= subsetsOf(this.alike(this.clients).flatMap(({ choices }) => [...choices.all].flat()));
    return !this.#known.has(subset);
  }

  /** Whether the rule that every client uses defines the subset. */
  #isPlainlyDefined(subset: string): boolean {
    if (this.#forAll === undefined) this.#forAll = this.rules.ruleForAll(this.serviceNamespaces) ?? "none";
    return this.#forAll !== "none" && this.#isDefinedBy(this.#forAll, subset);
  }

  #isDefinedBy(only: DestinationRule, subset: string): boolean {
    const { subsets } = only.spec;
    if (subsets.length > fewSubsets) return this.rules.defining(subset).includes(only);
    return subsets.some(({ name }) => name === subset);
  }

  /** The namespaces, grouped by the rules that they use. */
  alike(namespaces: ReadonlySet<string>): readonly AlikeClients[] {
    let found = this.#alike.get(namespaces);
    if (found === undefined) {
      const groups = new Map<SubsetChoices, string[]>();
      for (const namespace of namespaces) {
        const choices = this.#choicesOf(namespace);
        const group = groups.get(choices);
        if (group === undefined) groups.set(choices, [namespace]);
        else group.push(namespace);
      }
      found = [...groups].map(([choices, group]) => ({ namespaces: group, choices }));
      this.#alike.set(namespaces, found);
    }
    return found;
  }

  #choicesOf(client: string): SubsetChoices {
    let found = this.#byClient.get(client);
    if (found === undefined) this.#byClient.set(client, (found = this.#choose(client)));
    return found;
  }

  /** Sidecars prefer a service of their own namespace, and gateways the oldest one (Istio pilot/pkg/model/sidecar.go selectServices). */
  #choicesOfGateways(client: string): SubsetChoices {
    if (this.serviceNamespaces.size < 2 || !this.serviceNamespaces.has(client)) return this.#choicesOf(client);
    const key = `${client}/gateways`;
    const found = this.#byClient.get(key) ?? this.#anyOwner(client);
    this.#byClient.set(key, found);
    return found;
  }

  #choose(client: string): SubsetChoices {
    const own = this.rules.ownOf(client);
    if (own !== undefined) return this.#only(own);
    if (this.serviceNamespaces.size === 0) {
      this.#owners ??= new UnknownOwners(this.rules);
      return this.#owners.choicesOf(client);
    }
    return this.serviceNamespaces.has(client) ? this.#only(this.rules.usedBy(client, client)) : this.#anyOwner(client);
  }

  #anyOwner(client: string): SubsetChoices {
    const [owner, ...others] = this.serviceNamespaces;
    const first = this.rules.usedBy(client, owner);
    if (others.length === 0) return this.#only(first);
    const all = new Set([first, ...others.map((other) => this.rules.usedBy(client, other))]);
    return all.size === 1 ? this.#only(first) : new AnyOf([...all]);
  }

  #only(used: UsedDestinationRules): SubsetChoices {
    return used === unusedDestinationRules ? (this.#unused ??= new AnyOf([used])) : choicesBy(used);
  }
}

/** Adds the names in their order. */
function addSorted(found: Set<string>, names: Iterable<string>): void {
  for (const name of [...names].sort()) found.add(name);
}

const choicesOfRules = new KeptIn<UsedDestinationRules, SubsetChoices>();

/** All hosts that a wildcard covers can have the same rules. */
function choicesBy(used: UsedDestinationRules): SubsetChoices {
  let found = choicesOfRules.get(used);
  if (found === undefined) choicesOfRules.set(used, (found = new AnyOf([used])));
  return found;
}

class AnyOf implements SubsetChoices {
  readonly all: readonly UsedDestinationRules[];
  readonly #known = new SmallMap<string, SubsetLookup>();

  constructor(all: readonly UsedDestinationRules[]) {
    this.all = all;
  }

  lookUp(subset: string): SubsetLookup {
    let best = this.#known.get(subset);
    if (best === undefined) this.#known.set(subset, (best = bestOf(this.all.map((used) => lookupOf(used, subset)))));
    return best;
  }
}

/** The first look-up result with the highest rank. */
function bestOf(lookups: Iterable<SubsetLookup>): SubsetLookup {
  let best = nothingFound;
  for (const lookup of lookups) if (best === nothingFound || rank(lookup) > rank(best)) best = lookup;
  return best;
}

const rank = ({ definedFor, used, made }: SubsetLookup): number =>
  ["none", "some", "all"].indexOf(definedFor) * 2 + Number(used.length + made.length > 0);

/**
 * The rules of a service that is not known, and so can be in the namespace of any of its DestinationRules. The time to
 * find the best result does not depend on the number of these namespaces.
 */
class UnknownOwners {
  readonly #rules: RulesOverHost;
  /** The order of the namespaces, which is that of their rules. */
  readonly #places: ReadonlyMap<string, number>;
  /** The namespaces with rules that name a client in exportTo, by client. */
  readonly #naming: ReadonlyMap<string, ReadonlySet<string>>;
  /** The rules for clients that no exportTo names, with the namespace of these rules. */
  readonly #toAll: readonly (readonly [owner: string, used: UsedDestinationRules])[];
  readonly #defining = new Map<string, readonly (readonly [owner: string, used: UsedDestinationRules])[]>();
  readonly #unnamed: SubsetChoices;

  constructor(rules: RulesOverHost) {
    this.#rules = rules;
    const owners = new Set(rules.rules.map(({ metadata }) => metadata.namespace));
    this.#places = new Map([...owners].map((owner, i) => [owner, i + 1]));
    this.#naming = ownersNaming(rules.rules);
    this.#toAll = [...owners].flatMap((owner) => {
      const used = rules.exportedTo(anyOtherNamespace, owner);
      return used === undefined ? [] : [[owner, used] as const];
    });
    this.#unnamed = this.#choicesOf(anyOtherNamespace, new Set());
  }

  choicesOf(client: string): SubsetChoices {
    const naming = this.#naming.get(client);
    return naming === undefined ? this.#unnamed : this.#choicesOf(client, naming);
  }

  #choicesOf(client: string, naming: ReadonlySet<string>): SubsetChoices {
    const known = new Map<string, SubsetLookup>();
    const named = [...naming].flatMap((owner) => {
      const used = this.#rules.exportedTo(client, owner);
      return used === undefined ? [] : [[owner, used] as const];
    });
    const all = [this.#rules.usedBy(client, undefined), ...named.map(([, used]) => used)];
    return {
      all: client === anyOtherNamespace ? [...all, ...this.#toAll.map(([, used]) => used)] : all,
      lookUp: (subset) => {
        let best = known.get(subset);
        if (best === undefined) known.set(subset, (best = this.#best(subset, client, named, naming)));
        return best;
      },
    };
  }

  /** As bestOf, for all namespaces: of the rules that are exported to all clients, only two can have the best result. */
  #best(
    subset: string,
    client: string,
    named: readonly (readonly [owner: string, used: UsedDestinationRules])[],
    naming: ReadonlySet<string>,
  ): SubsetLookup {
    const isOther = ([owner]: readonly [string, UsedDestinationRules]) => !naming.has(owner);
    const candidates = [this.#toAll.find(isOther), this.#definingOf(subset).find(isOther)].flatMap((one) =>
      one ? [one] : [],
    );
    const inOrder = [...named, ...candidates].sort(
      ([a], [b]) => (this.#places.get(a) ?? 0) - (this.#places.get(b) ?? 0),
    );
    return bestOf(
      [this.#rules.usedBy(client, undefined), ...inOrder.map(([, used]) => used)].map((used) => lookupOf(used, subset)),
    );
  }

  #definingOf(subset: string) {
    let found = this.#defining.get(subset);
    if (found === undefined) {
      found = this.#toAll.filter(([, used]) => lookupOf(used, subset).definedFor === "all");
      this.#defining.set(subset, found);
    }
    return found;
  }
}

function ownersNaming(rules: readonly DestinationRule[]): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const { metadata, spec } of rules)
    for (const client of spec.exportTo) {
      const owners = found.get(client);
      if (owners === undefined) found.set(client, new Set([metadata.namespace]));
      else owners.add(metadata.namespace);
    }
  return found;
}

const nothingFound: SubsetLookup = { definedFor: "none", used: [], made: [], subsets: [] };
const everywhere: SubsetLookup = { definedFor: "all", used: [], made: [], subsets: [] };

function lookupOf(found: UsedDestinationRules, subset: string): SubsetLookup {
  const without = found.filter((merged) => !merged?.defines(subset));
  if (without.length === 0) return everywhere;
  const used = rulesOf(without);
  const made = without.flatMap((merged) => merged?.made ?? nothingFound.made);
  return {
    ...{ definedFor: without.length === found.length ? "none" : "some", used, subsets: namesIn(used) },
    made: made.length === 0 ? nothingFound.made : made,
  };
}

/** The rules of users that these merged rules consist of, each once. */
function rulesOf(merged: UsedDestinationRules): readonly DestinationRule[] {
  const [first] = merged;
  if (merged.length === 1) return first?.from ?? nothingFound.used;
  const rules = new Set<DestinationRule>();
  for (const { sequence, start } of partsOf(merged)) for (const rule of sequence.rules.slice(start)) rules.add(rule);
  return [...rules].filter((rule) => !isMadeOfPolicies(rule));
}

/** The parts of the merged rules. If several have the end of the same sequence, the first of them has the longest. */
function* partsOf(merged: UsedDestinationRules): Iterable<MergedDestinationRule["parts"][number]> {
  const seen = new Set<RuleSequence>();
  for (const one of merged)
    for (const part of one?.parts ?? [])
      if (!seen.has(part.sequence)) {
        seen.add(part.sequence);
        yield part;
      }
}

const names = new WeakMap<readonly DestinationRule[], readonly string[]>();

/** The names of the subsets that the rules define, each once. */
function namesIn(rules: readonly DestinationRule[]): readonly string[] {
  let found = names.get(rules);
  if (found === undefined) {
    found = [...new Set(rules.flatMap(({ spec }) => spec.subsets.map(({ name }) => name)))];
    names.set(rules, found);
  }
  return found;
}

function subsetsOf(merged: UsedDestinationRules): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { sequence, start } of partsOf(merged))
    for (const { spec } of sequence.rules.slice(start)) for (const { name } of spec.subsets) found.add(name);
  return found;
}
