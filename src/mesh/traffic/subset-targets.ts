import type { ObjectOf } from "../../kube/object.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { aliasedHost } from "./aliased-hosts.ts";
import {
  readsRuleHosts,
  ruleHostsOver,
  rulesOfHosts,
  rulesOfWildcards,
  rulesWithMade,
} from "./destination-rule-lookup.ts";
import { serviceEntriesOfVirtualService } from "./destination-rules.ts";
import { HostPatterns } from "./host-patterns.ts";
import { coveringHosts, hostKey, isWildcard, namespaceOfHost } from "./hosts.ts";
import { aliasesOfSubsets, destinationRulesOfAlias, entriesOfAlias } from "./subset-aliases.ts";
import { policyRulesAt, policyRulesAtReads } from "./subset-policies.ts";
import { SubsetsOfHost } from "./subsets.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

/** The ServiceEntries of hosts with the same key. */
interface EntriesAtKey {
  readonly byHost: ReadonlyMap<string, readonly ServiceEntry[]>;
  over(host: string): string | undefined;
}

/** The ServiceEntries with a hostKey; many keys of a host have none, and need not be asked for. */
const entriesAtKey = fact("entriesAtKey", "key", [serviceEntriesOfVirtualService], (key, mesh): EntriesAtKey => {
  const entries = mesh.under(serviceEntriesOfVirtualService, [key]);
  if (!isWildcard(key)) return { byHost: new Map([[key, entries]]), over: (host) => (host === key ? key : undefined) };
  const byHost = new Map<string, ServiceEntry[]>();
  for (const entry of entries)
    for (const host of wildcardsOf(entry).get(key) ?? []) {
      const there = byHost.get(host);
      if (there === undefined) byHost.set(host, [entry]);
      else there.push(entry);
    }
  const patterns = new HostPatterns(byHost.keys());
  return { byHost, over: (host) => patterns.over(host) };
});

const wildcards = new WeakMap<ServiceEntry, ReadonlyMap<string, ReadonlySet<string>>>();

/** The wildcard hosts of an entry by their hostKey, each once. */
function wildcardsOf(entry: ServiceEntry): ReadonlyMap<string, ReadonlySet<string>> {
  const known = wildcards.get(entry);
  if (known !== undefined) return known;
  const found = new Map<string, Set<string>>();
  for (const host of entry.spec.hosts.filter(isWildcard)) {
    const key = hostKey(host);
    found.set(key, (found.get(key) ?? new Set()).add(host));
  }
  wildcards.set(entry, found);
  return found;
}

/** The namespaces of the service of a host, as serviceNamespaces gives them for all ServiceEntries. */
function serviceNamespacesOfHost(
  host: string,
  mesh: MeshView<typeof serviceEntriesOfVirtualService | typeof entriesAtKey>,
): readonly string[] {
  const own = namespaceOfHost(host, mesh.settings.domain);
  for (const key of own === undefined ? coveringHosts(host) : [host]) {
    if (!mesh.hasUnder(serviceEntriesOfVirtualService, key)) continue;
    const { byHost, over } = mesh.get(entriesAtKey, key);
    const best = over(host);
    const entries = best === undefined ? undefined : byHost.get(best);
    if (entries !== undefined)
      return [...new Set([...(own === undefined ? [] : [own]), ...entries.map(({ metadata }) => metadata.namespace)])];
  }
  return own === undefined ? [] : [own];
}

/**
 * The look-up results for subsets of all hosts that only wildcards match. The key is a JSON list of these wildcards and of
 * the namespaces of the service.
 */
const subsetsOfWildcards = fact("subsetsOfWildcards", "key", [rulesOfWildcards], (key, mesh): SubsetsOfHost => {
  const [hosts, namespaces] = JSON.parse(key) as readonly [readonly string[], readonly string[]];
  return new SubsetsOfHost(mesh.get(rulesOfWildcards, JSON.stringify(hosts)), new Set(namespaces), mesh.settings);
});

/** A set of namespaces, which the hosts of a namespace share. The key is their names, joined by commas. */
const namespacesTogether = fact(
  "namespacesTogether",
  "key",
  [],
  (key): ReadonlySet<string> => new Set(key === "" ? [] : key.split(",")),
);

/** The host whose DestinationRules decide about the subsets of a host of destinations. */
export interface HostOfSubsets {
  readonly host: string;
  /** The ExternalName that the destinations name; undefined: they name the host itself. */
  readonly alias: Service | undefined;
}

/**
 * A route to an alias with a subset leads to the subset of the host that it stands for, of one step (Istio
 * pilot/pkg/networking/core/route/route.go GetDestinationCluster), so DestinationRules for the alias count for nothing. A
 * ServiceEntry with the host of the alias may come before it.
 */
export const hostOfSubsets = fact(
  "hostOfSubsets",
  "key",
  [aliasesOfSubsets, serviceEntriesOfVirtualService],
  (host, mesh): HostOfSubsets => {
    const [alias] = mesh.under(aliasesOfSubsets, [host]);
    const isPlain = alias === undefined || mesh.hasUnder(serviceEntriesOfVirtualService, host);
    return isPlain ? { host, alias: undefined } : { host: aliasedHost(alias), alias };
  },
);

const readsOfTarget = [
  ...readsRuleHosts,
  ...[serviceEntriesOfVirtualService, entriesAtKey, namespacesTogether, subsetsOfWildcards],
  ...[aliasesOfSubsets, destinationRulesOfAlias, entriesOfAlias, ...policyRulesAtReads],
] as const;

/** The look-up results for subsets of a host whose DestinationRules decide. */
function subsetsFor(host: string, mesh: MeshView<(typeof readsOfTarget)[number]>): SubsetsOfHost {
  const hosts = ruleHostsOver(host, mesh);
  const namespaces = serviceNamespacesOfHost(host, mesh);
  const { settings } = mesh;
  const made = policyRulesAt(host, mesh);
  if (made.length > 0) return new SubsetsOfHost(rulesWithMade(host, made, hosts, mesh), new Set(namespaces), settings);
  const [first] = hosts;
  if (first !== undefined && first !== host) return mesh.get(subsetsOfWildcards, JSON.stringify([hosts, namespaces]));
  return new SubsetsOfHost(rulesOfHosts(hosts, mesh), mesh.get(namespacesTogether, namespaces.join()), settings);
}

/** The look-up results for subsets of a host that has other names, of which there can be many. */
const subsetsOfTarget = fact("subsetsOfTarget", "key", readsOfTarget, subsetsFor);

/**
 * The look-up results for subsets of a host (as istiod resolves it), or of the one that it is an alias for. Hosts with the same DestinationRules and the same
 * service namespaces share one object.
 */
export const subsetsOfHost = fact(
  "subsetsOfHost",
  "key",
  [hostOfSubsets, subsetsOfTarget, ...readsOfTarget],
  (said, mesh): SubsetsOfHost => {
    const { host, alias } = mesh.get(hostOfSubsets, said);
    return alias === undefined ? subsetsFor(host, mesh) : mesh.get(subsetsOfTarget, host);
  },
);
