import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { coveringHostsOfAll, fullHost, hostKey, mostSpecificHost, namespaceOfHost } from "./hosts.ts";
import { subsetDestinationsOf, type VirtualService } from "./virtual-services.ts";

export type DestinationRule = ObjectOf<"DestinationRule">;
type Labels = Readonly<Record<string, string>>;

/**
 * The host that a DestinationRule is for, as istiod resolves it (Istio pilot/pkg/model/push_context.go
 * setDestinationRules).
 */
export const hostOfRule = ({ metadata, spec }: DestinationRule, { domain }: MeshSettings): string =>
  fullHost(spec.host, metadata.namespace, domain);

/** The hosts, as istiod resolves them, of which a VirtualService names a subset, with or without traffic. */
function subsetHosts(virtualService: VirtualService, { domain }: MeshSettings): readonly string[] {
  const hosts = new Set<string>();
  for (const { host } of subsetDestinationsOf(virtualService))
    hosts.add(fullHost(host, virtualService.metadata.namespace, domain));
  return [...hosts];
}

const subsetHostsOfVirtualService = index("VirtualService", (virtualService, settings) =>
  isServed(virtualService, settings) ? coveringHostsOfAll(subsetHosts(virtualService, settings)) : [],
);

/**
 * The hosts under which a DestinationRule is used. Service names are lower-case and istiod compares case-sensitively, so
 * a rule for `Reviews` has no keys.
 */
const hostOfDestinationRule = index("DestinationRule", (rule, settings) => {
  const host = hostOfRule(rule, settings);
  const isMisspelt = host !== host.toLowerCase() && namespaceOfHost(host, settings.domain) !== undefined;
  return host === "" || isMisspelt || !isServed(rule, settings) ? [] : [hostKey(host)];
});

/** A VirtualService and every DestinationRule, of any namespace, that can match a host whose subsets it uses. */
export const destinationRulesOfVirtualService = relation(
  "destinationRulesOfVirtualService",
  subsetHostsOfVirtualService,
  hostOfDestinationRule,
);

/** A VirtualService and the ServiceEntries that may define a host whose subsets it uses. */
export const serviceEntriesOfVirtualService = relation(
  "serviceEntriesOfVirtualService",
  subsetHostsOfVirtualService,
  index("ServiceEntry", (entry, settings) => (isServed(entry, settings) ? new Set(entry.spec.hosts.map(hostKey)) : [])),
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

/** A merged DestinationRule: istiod's result for the DestinationRules of one host in one namespace. */
export interface MergedDestinationRule {
  readonly host: string;
  readonly namespace: string;
  /** As written. Unset and `["*"]` have the same meaning, but istiod does not merge one with the other. */
  readonly exportTo: ReadonlySet<string>;
  /** The selector of the first rule; undefined selects every workload. */
  readonly selector: Labels | undefined;
  readonly subsets: readonly DestinationRule["spec"]["subsets"][number][];
  /** The traffic policy of the oldest rule that has one. */
  readonly trafficPolicy: DestinationRule["spec"]["trafficPolicy"];
  readonly from: readonly DestinationRule[];
}
interface Draft extends MergedDestinationRule {
  readonly subsets: DestinationRule["spec"]["subsets"][number][];
  trafficPolicy: DestinationRule["spec"]["trafficPolicy"];
  readonly from: DestinationRule[];
}

const selectorOf = ({ spec }: DestinationRule): Labels | undefined =>
  spec.workloadSelector === undefined ? undefined : (spec.workloadSelector.matchLabels ?? {});

/**
 * A rule with a workloadSelector is private, regardless of its exportTo (Istio pilot/pkg/model/push_context.go
 * setDestinationRules).
 */
const exportSetOf = (rule: DestinationRule): ReadonlySet<string> =>
  new Set(selectorOf(rule) === undefined ? rule.spec.exportTo : ["."]);

/**
 * Of the mesh default, only `.` makes a rule private (Istio pilot/pkg/model/push_context.go setDestinationRules
 * isPrivateOnly).
 */
function isPrivate(rule: DestinationRule, { defaultDestinationRuleExportTo }: MeshSettings): boolean {
  const exportTo = exportSetOf(rule);
  if (exportTo.size === 0) return defaultDestinationRuleExportTo.includes(".");
  return exportTo.size === 1 && (exportTo.has(".") || exportTo.has(rule.metadata.namespace));
}

/**
 * Whether clients of its own namespace can use it (Istio pilot/pkg/model/push_context.go setDestinationRules
 * namespaceLocalDestRules).
 */
function isLocal(rule: DestinationRule): boolean {
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

/**
 * The merged DestinationRules for clients of a namespace and a host: those of the client's namespace, else of the
 * service's, else of the root namespace. In each, the most specific host is selected before visibility is checked. The
 * result has several if selectors or exportTo prevent merging (Istio pilot/pkg/model/push_context.go destinationRule,
 * getExportedDestinationRuleFromNamespace).
 */
export function destinationRulesFor(
  client: string,
  { host, namespace }: { readonly host: string; readonly namespace: string | undefined },
  rules: readonly DestinationRule[],
  settings: MeshSettings,
): readonly MergedDestinationRule[] {
  const { rootNamespace } = settings;
  const own = rules.filter(
    (rule) =>
      rule.metadata.namespace === client && (client === rootNamespace ? isPrivate(rule, settings) : isLocal(rule)),
  );
  const local = mergedForHost(host, own, settings);
  if (local.length > 0) return local;
  for (const owner of new Set([namespace, rootNamespace])) {
    const exported = rules.filter((rule) => rule.metadata.namespace === owner && !isPrivate(rule, settings));
    const found = mergedForHost(host, exported, settings).filter(
      ({ exportTo }) => exportTo.size === 0 || exportTo.has("*") || exportTo.has(client),
    );
    if (found.length > 0) return found;
  }
  return [];
}

function mergedForHost(
  host: string,
  rules: readonly DestinationRule[],
  settings: MeshSettings,
): readonly MergedDestinationRule[] {
  if (rules.length === 0) return [];
  const best = mostSpecificHost(
    host,
    rules.map((rule) => hostOfRule(rule, settings)),
  );
  const merged: Draft[] = [];
  const same = rules.filter((rule) => hostOfRule(rule, settings) === best);
  for (const rule of same.sort(selectorsFirst)) merge(rule, merged, settings);
  return merged;
}

/** Istio pilot/pkg/model/push_context.go sortConfigBySelectorAndCreationTime. */
const selectorsFirst = (a: DestinationRule, b: DestinationRule): number =>
  Number(selectorOf(a) === undefined) - Number(selectorOf(b) === undefined) || oldestFirst(a, b);

/**
 * Istio pilot/pkg/model/destination_rule.go mergeDestinationRule, including its edge cases: the last of the existing
 * rules decides whether a new one stays separate, a wider one is merged without being kept, and a private rule without
 * a selector is merged into one that has a selector.
 */
function merge(rule: DestinationRule, merged: Draft[], settings: MeshSettings): void {
  const exportTo = exportSetOf(rule);
  const selector = selectorOf(rule);
  let standsApart = true;
  for (const existing of merged) {
    const exported = compareExports(exportTo, existing.exportTo);
    standsApart = exported !== "same";
    if (exported === "other") continue;
    const selected = compareSelectors(selector, existing.selector);
    if (selected === "other") standsApart = true;
    else if (selected === "same") standsApart = false;
    if (selected !== "other") takeIn(rule, existing);
  }
  if (standsApart)
    merged.push({
      host: hostOfRule(rule, settings),
      namespace: rule.metadata.namespace,
      exportTo,
      selector,
      subsets: [...rule.spec.subsets],
      trafficPolicy: rule.spec.trafficPolicy,
      from: [rule],
    });
}

function compareExports(added: ReadonlySet<string>, existing: ReadonlySet<string>): "same" | "wider" | "other" {
  const isSuperset = added.isSupersetOf(existing);
  if (isSuperset && added.size === existing.size) return "same";
  return isSuperset && existing.size > 0 ? "wider" : "other";
}

function compareSelectors(added: Labels | undefined, existing: Labels | undefined): "same" | "one" | "other" {
  if (added === undefined && existing === undefined) return "same";
  if (added === undefined || existing === undefined) return "one";
  return selects(added, existing) && selects(existing, added) ? "same" : "other";
}

function takeIn(rule: DestinationRule, existing: Draft): void {
  const known = new Set(existing.subsets.map(({ name }) => name));
  existing.from.push(rule);
  existing.subsets.push(...rule.spec.subsets.filter(({ name }) => !known.has(name)));
  existing.trafficPolicy ??= rule.spec.trafficPolicy;
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
