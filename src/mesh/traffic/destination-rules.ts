import type { Labels, ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import { exportSetOf } from "./destination-rule-merge.ts";
import { serviceEntryByHost } from "./definition-choice.ts";
import { coveringHostsOfAll, fullHost, hostKey, mostSpecificHost, namespaceOfHost } from "./hosts.ts";
import { subsetDestinationsOf, type VirtualService } from "./virtual-services.ts";

export type DestinationRule = ObjectOf<"DestinationRule">;

/**
 * The host that a DestinationRule is for, as istiod resolves it (Istio pilot/pkg/model/push_context.go
 * setDestinationRules).
 */
export const hostOfRule = ({ metadata, spec }: DestinationRule, { domain }: MeshSettings): string =>
  fullHost(spec.host, metadata.namespace, domain);

/** Whether only ServiceEntries can define the host of a DestinationRule: it has not the form of a Service's. */
export const isOutsideCluster = (rule: DestinationRule, settings: MeshSettings): boolean =>
  namespaceOfHost(hostOfRule(rule, settings), settings.domain) === undefined;

/** The hosts, as istiod resolves them, of which a VirtualService names a subset, with or without traffic. */
function subsetHosts(virtualService: VirtualService, { domain }: MeshSettings): readonly string[] {
  const hosts = new Set<string>();
  for (const { host } of subsetDestinationsOf(virtualService))
    hosts.add(fullHost(host, virtualService.metadata.namespace, domain));
  return [...hosts];
}

/** The same hosts, without the wildcards that cover them. */
export const exactSubsetHosts = index("VirtualService", (virtualService, settings) =>
  isServed(virtualService, settings) ? subsetHosts(virtualService, settings) : [],
);

/** The same hosts with the wildcards that cover them. */
export const subsetHostsOfVirtualService = index("VirtualService", (virtualService, settings) =>
  isServed(virtualService, settings) ? coveringHostsOfAll(subsetHosts(virtualService, settings)) : [],
);

/**
 * The hosts under which a DestinationRule is used. Service names are lower-case and istiod compares case-sensitively, so
 * a rule for `Reviews` has no keys.
 */
export const destinationRuleByHost = index("DestinationRule", (rule, settings) => {
  const host = hostOfRule(rule, settings);
  const isMisspelt = host !== host.toLowerCase() && namespaceOfHost(host, settings.domain) !== undefined;
  return host === "" || isMisspelt || !isServed(rule, settings) ? [] : [hostKey(host)];
});

/** A VirtualService and every DestinationRule, of any namespace, that can match a host whose subsets it uses. */
export const destinationRulesOfVirtualService = relation(
  "destinationRulesOfVirtualService",
  subsetHostsOfVirtualService,
  destinationRuleByHost,
);

/** A DestinationRule and every VirtualService, of any namespace, that uses subsets of a host which the rule can match. */
export const virtualServicesOfDestinationRule = relation(
  "virtualServicesOfDestinationRule",
  destinationRuleByHost,
  subsetHostsOfVirtualService,
);

/** A VirtualService and the ServiceEntries that may define a host whose subsets it uses. */
export const serviceEntriesOfVirtualService = relation(
  "serviceEntriesOfVirtualService",
  subsetHostsOfVirtualService,
  serviceEntryByHost,
);

/**
 * The namespaces that the configuration of a service can come from, besides those of its clients and the root namespace:
 * that of a Kubernetes service, else those of the ServiceEntries for the host. Empty: the service is not known.
 */
export function serviceNamespaces(
  host: string,
  entries: readonly ObjectOf<"ServiceEntry">[],
  { domain }: MeshSettings,
): ReadonlySet<string> {
  const namespaces = new Set<string>();
  const own = namespaceOfHost(host, domain);
  if (own !== undefined) namespaces.add(own);
  if (entries.length === 0) return namespaces;
  const best = mostSpecificHost(
    host,
    entries.flatMap(({ spec }) => spec.hosts),
  );
  for (const { metadata, spec } of entries)
    if (best !== undefined && spec.hosts.includes(best) && (own === undefined || best === host))
      namespaces.add(metadata.namespace);
  return namespaces;
}

/**
 * Of the mesh default, only `.` makes a rule private (Istio pilot/pkg/model/push_context.go setDestinationRules
 * isPrivateOnly).
 */
export function isPrivate(rule: DestinationRule, { defaultDestinationRuleExportTo }: MeshSettings): boolean {
  const exportTo = exportSetOf(rule);
  if (exportTo.size === 0) return defaultDestinationRuleExportTo.includes(".");
  return exportTo.size === 1 && (exportTo.has(".") || exportTo.has(rule.metadata.namespace));
}

/**
 * Whether clients of its own namespace can use it (Istio pilot/pkg/model/push_context.go setDestinationRules
 * namespaceLocalDestRules).
 */
export function isLocal(rule: DestinationRule): boolean {
  const exportTo = exportSetOf(rule);
  return exportTo.size === 0 || exportTo.has("*") || exportTo.has(".") || exportTo.has(rule.metadata.namespace);
}

/** Whether it is visible to clients in every namespace, with any labels. */
export const isForEveryWorkload = (
  { spec: { workloadSelector, exportTo } }: DestinationRule,
  { defaultDestinationRuleExportTo }: MeshSettings,
): boolean =>
  workloadSelector === undefined &&
  (exportTo.length === 0 ? !defaultDestinationRuleExportTo.includes(".") : exportTo.includes("*"));

/** The subsets that DestinationRules define for hosts. Which of several rules a client uses is not asked. */
export class SubsetsOfHosts {
  readonly #mesh: MeshView<typeof destinationRulesOfVirtualService>;
  readonly #known = new Map<string, ReadonlyMap<string, readonly DestinationRule["spec"]["subsets"][number][]>>();

  constructor(mesh: MeshView<typeof destinationRulesOfVirtualService>) {
    this.#mesh = mesh;
  }

  /** The subset with this name, if there is one alone. */
  onlyOne(host: string, name: string): DestinationRule["spec"]["subsets"][number] | undefined {
    const [only, ...others] = this.#of(host).get(name) ?? [];
    return others.length === 0 ? only : undefined;
  }

  /** The labels of the pods behind a host or one of its subsets; undefined: there is not one subset with this name. */
  labelsOf({ host, subset }: { readonly host: string; readonly subset: string }): Labels | undefined {
    return subset === "" ? {} : this.onlyOne(host, subset)?.labels;
  }

  #of(host: string) {
    let found = this.#known.get(host);
    if (found === undefined) {
      const rules = this.#mesh
        .under(destinationRulesOfVirtualService, [host])
        .filter((rule) => hostOfRule(rule, this.#mesh.settings) === host);
      this.#mesh.visited(rules.length);
      const subsets = rules.flatMap(({ spec }) => spec.subsets);
      this.#known.set(host, (found = Map.groupBy(subsets, ({ name }) => name)));
    }
    return found;
  }
}
