import type { Labels } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { SmallMap } from "../../view/small-map.ts";
import { selects } from "../objects/selectors.ts";
import { type MergedDestinationRule, mergedOf } from "./destination-rule-merge.ts";
import { type DestinationRule, hostOfRule, isForEveryWorkload, isLocal, isPrivate } from "./destination-rules.ts";

/**
 * Every rule that some workload of one namespace can use, depending on its labels; undefined stands for no rule. Clients
 * with the same result get the same array.
 */
export type UsedDestinationRules = readonly (MergedDestinationRule | undefined)[];
export const unusedDestinationRules: UsedDestinationRules = [undefined];
const nothing: readonly never[] = [];

/** What clients of a namespace use of the rules there: the same for all hosts that these rules match. */
interface OwnRules {
  readonly merged: readonly MergedDestinationRule[];
  readonly used: UsedDestinationRules;
}
const noOwnRules: OwnRules = { merged: nothing, used: unusedDestinationRules };

/** The DestinationRules of one host in one namespace. */
class RulesOfNamespace {
  readonly rules: readonly DestinationRule[];
  readonly #host: string;
  readonly #settings: MeshSettings;
  /** Those of all rules, which most namespaces both use and export. */
  #all: readonly MergedDestinationRule[] | undefined;
  #own: OwnRules | undefined;
  #exported: readonly MergedDestinationRule[] | undefined;
  #visible: { readonly named: ReadonlyMap<string, number>; readonly toAll: number } | undefined;
  #uses: SmallMap<MergedDestinationRule, UsedDestinationRules> | undefined;

  constructor(host: string, rules: readonly DestinationRule[], settings: MeshSettings) {
    this.rules = rules;
    this.#host = host;
    this.#settings = settings;
  }

  /** The merged rules for clients of this namespace. For those of the root namespace only its private rules count. */
  own(namespace: string): OwnRules {
    return (this.#own ??= this.#findOwn(namespace));
  }
  #findOwn(namespace: string): OwnRules {
    const isSeen = namespace === this.#settings.rootNamespace ? isPrivate : isLocal;
    const merged = this.#merged((rule) => isSeen(rule, this.#settings));
    return merged.length === 0 ? noOwnRules : { merged, used: destinationRulesOfSome(namespace, merged) };
  }

  /** The merged rules for clients of other namespaces, before visibility is checked. */
  get exported(): readonly MergedDestinationRule[] {
    return (this.#exported ??= this.#merged((rule) => !isPrivate(rule, this.#settings)));
  }

  #merged(isSeen: (rule: DestinationRule) => boolean): readonly MergedDestinationRule[] {
    if (this.rules.every(isSeen)) return (this.#all ??= mergedOf(this.#host, this.rules));
    return mergedOf(this.#host, this.rules.filter(isSeen));
  }

  /** The rule that is exported to a client's namespace. None of them has a selector, and the last one is used. */
  exportedTo(client: string): UsedDestinationRules | undefined {
    this.#visible ??= lastVisible(this.exported);
    const { named, toAll } = this.#visible;
    const last = this.exported[Math.max(named.get(client) ?? -1, toAll)];
    if (last === undefined) return undefined;
    const own = this.#own?.used;
    if (own?.length === 1 && own[0] === last) return own;
    this.#uses ??= new SmallMap();
    let use = this.#uses.get(last);
    if (use === undefined) this.#uses.set(last, (use = [last]));
    return use;
  }
}

const namesNobody: ReadonlyMap<string, number> = new Map();

function lastVisible(merged: readonly MergedDestinationRule[]) {
  let named: Map<string, number> | undefined;
  let toAll = -1;
  for (const [i, { exportTo }] of merged.entries()) {
    if (exportTo.size === 0 || exportTo.has("*")) toAll = i;
    for (const to of exportTo) (named ??= new Map()).set(to, i);
  }
  return { named: named ?? namesNobody, toAll };
}

const isVisibleTo = ({ exportTo }: MergedDestinationRule, client: string): boolean =>
  exportTo.size === 0 || exportTo.has("*") || exportTo.has(client);

/** The DestinationRules of one host. */
export class RulesOfHost {
  readonly host: string;
  readonly rules: readonly DestinationRule[];
  readonly #settings: MeshSettings;
  #byNamespace: SmallMap<string, RulesOfNamespace> | undefined;

  constructor(host: string, rules: readonly DestinationRule[], settings: MeshSettings) {
    this.host = host;
    this.rules = rules;
    this.#settings = settings;
  }

  /** Undefined: it has none. */
  inNamespace(namespace: string): RulesOfNamespace | undefined {
    return (this.#byNamespace ??= this.#grouped()).get(namespace);
  }

  #grouped(): SmallMap<string, RulesOfNamespace> {
    const found = new SmallMap<string, RulesOfNamespace>();
    const add = (namespace: string, rules: readonly DestinationRule[]) =>
      found.set(namespace, new RulesOfNamespace(this.host, rules, this.#settings));
    const [first] = this.rules;
    if (first !== undefined && this.rules.length === 1) add(first.metadata.namespace, this.rules);
    else
      for (const [namespace, rules] of Map.groupBy(this.rules, ({ metadata }) => metadata.namespace))
        add(namespace, rules);
    return found;
  }
}

export const rulesByHost = (
  rules: readonly DestinationRule[],
  settings: MeshSettings,
): ReadonlyMap<string, RulesOfHost> =>
  new Map(
    [...Map.groupBy(rules, (rule) => hostOfRule(rule, settings))].map(([host, of]) => [
      host,
      new RulesOfHost(host, of, settings),
    ]),
  );

/** All DestinationRules that match a host. Hosts with the same DestinationRules share one object. */
export class RulesOverHost {
  readonly #settings: MeshSettings;
  /** The most specific host first. */
  readonly #hosts: readonly RulesOfHost[];
  readonly #places: ReadonlyMap<DestinationRule, number> | undefined;
  #rules: readonly DestinationRule[] | undefined;
  #defining: ReadonlyMap<string, readonly DestinationRule[]> | undefined;

  constructor(hosts: readonly RulesOfHost[], settings: MeshSettings, places?: ReadonlyMap<DestinationRule, number>) {
    this.#hosts = hosts;
    this.#settings = settings;
    this.#places = places;
  }

  /** In the given order, or else with the most specific host first. */
  get rules(): readonly DestinationRule[] {
    this.#rules ??= this.#inOrder();
    return this.#rules;
  }

  /** The rule of the most specific host; undefined: it has several. */
  get onlyMostSpecific(): DestinationRule | undefined {
    const [first] = this.#hosts;
    return first?.rules.length === 1 ? first.rules[0] : undefined;
  }

  /**
   * The rule that every client uses, found without a look at the clients: the only one of the most specific host is visible
   * to all and in a namespace that all clients search, and no client prefers a rule of a less specific host. If undefined,
   * there may still be such a rule. `owners`: the namespaces of the service; empty: they are not known.
   */
  ruleForAll(owners: ReadonlySet<string>): DestinationRule | undefined {
    const rule = this.onlyMostSpecific;
    if (rule === undefined || !isForEveryWorkload(rule, this.#settings)) return undefined;
    const { namespace } = rule.metadata;
    const isOfOwner = owners.size < 2 && (owners.size === 0 || owners.has(namespace));
    const isSearched = isOfOwner || namespace === this.#settings.rootNamespace;
    if (!isSearched) return undefined;
    return this.rules.every((other) => other === rule || this.#yieldsTo(namespace, other)) ? rule : undefined;
  }

  /** Whether no client prefers this rule of a less specific host to one in the namespace. */
  #yieldsTo(namespace: string, other: DestinationRule): boolean {
    if (other.metadata.namespace === this.#settings.rootNamespace) return !isPrivate(other, this.#settings);
    return other.metadata.namespace === namespace;
  }

  #inOrder(): readonly DestinationRule[] {
    const places = this.#places;
    const [first] = this.#hosts;
    if (first !== undefined && this.#hosts.length === 1) return first.rules;
    const rules = this.#hosts.flatMap((host) => host.rules);
    if (places === undefined) return rules;
    return rules.sort((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
  }

  /** The rules that define a subset, for any client. */
  defining(subset: string): readonly DestinationRule[] {
    const { rules } = this;
    if (rules.length <= few && rules.every(({ spec }) => spec.subsets.length <= few))
      return rules.filter(({ spec }) => spec.subsets.some(({ name }) => name === subset));
    this.#defining ??= byNameOfSubset(rules);
    return this.#defining.get(subset) ?? nothing;
  }

  /**
   * The merged DestinationRules for clients of a namespace: those of the client's namespace, else of the service's, else
   * of the root namespace. In each, the most specific host is selected before visibility is checked. The result has several
   * if selectors or exportTo prevent merging (Istio pilot/pkg/model/push_context.go destinationRule,
   * getExportedDestinationRuleFromNamespace). `owner`: the namespace of the service; undefined: it is not known.
   */
  seenBy(client: string, owner: string | undefined): readonly MergedDestinationRule[] {
    const { merged } = this.#ownOf(client);
    if (merged.length > 0) return merged;
    for (const namespace of new Set([owner, this.#settings.rootNamespace])) {
      const seen = this.#exportedBy(namespace)?.exported.filter((one) => isVisibleTo(one, client)) ?? [];
      if (seen.length > 0) return seen;
    }
    return [];
  }

  /** Those of them that some workload of the namespace can use. */
  usedBy(client: string, owner: string | undefined): UsedDestinationRules {
    return (
      this.ownOf(client) ??
      this.exportedTo(client, owner) ??
      this.exportedTo(client, this.#settings.rootNamespace) ??
      unusedDestinationRules
    );
  }

  /** The rule that a namespace exports to the client; undefined: none. */
  exportedTo(client: string, owner: string | undefined): UsedDestinationRules | undefined {
    return this.#exportedBy(owner)?.exportedTo(client);
  }

  /** The rules of the client's own namespace, which are used for services of any namespace; undefined: it has none. */
  ownOf(client: string): UsedDestinationRules | undefined {
    const { merged, used } = this.#ownOf(client);
    return merged.length === 0 ? undefined : used;
  }

  #ownOf(client: string): OwnRules {
    return this.#first(client, (there) => there.own(client).merged)?.own(client) ?? noOwnRules;
  }

  #exportedBy(namespace: string | undefined): RulesOfNamespace | undefined {
    return namespace === undefined ? undefined : this.#first(namespace, ({ exported }) => exported);
  }

  #first(
    namespace: string,
    seen: (there: RulesOfNamespace) => readonly MergedDestinationRule[],
  ): RulesOfNamespace | undefined {
    for (const host of this.#hosts) {
      const there = host.inNamespace(namespace);
      if (there !== undefined && seen(there).length > 0) return there;
    }
    return undefined;
  }
}

/** So few rules or subsets are compared one by one. */
const few = 8;

function byNameOfSubset(rules: readonly DestinationRule[]): ReadonlyMap<string, readonly DestinationRule[]> {
  const found = new Map<string, DestinationRule[]>();
  for (const rule of rules)
    for (const name of new Set(rule.spec.subsets.map((subset) => subset.name))) {
      const there = found.get(name);
      if (there === undefined) found.set(name, [rule]);
      else there.push(rule);
    }
  return found;
}

/**
 * The rule that a workload uses: the first whose selector matches it, else the last without a selector, else none (Istio
 * pilot/pkg/model/sidecar.go DestinationRule).
 */
export function destinationRuleOf(
  labels: Labels,
  client: string,
  merged: readonly MergedDestinationRule[],
): MergedDestinationRule | undefined {
  const isSelecting = ({ selector, namespace }: MergedDestinationRule) =>
    selector !== undefined && namespace === client && selects(selector, labels);
  return merged.find(isSelecting) ?? merged.findLast(({ selector }) => selector === undefined);
}

/** Every rule that some workload of the namespace can use, depending on its labels; undefined stands for no rule. */
export function destinationRulesOfSome(
  client: string,
  merged: readonly MergedDestinationRule[],
): readonly (MergedDestinationRule | undefined)[] {
  const selecting = merged.filter(({ selector, namespace }) => selector !== undefined && namespace === client);
  const all = selecting.find(({ selector }) => Object.keys(selector ?? {}).length === 0);
  // An empty selector selects every workload that no earlier selector matched.
  if (all !== undefined) return selecting.slice(0, selecting.indexOf(all) + 1);
  return [...selecting, merged.findLast(({ selector }) => selector === undefined)];
}
