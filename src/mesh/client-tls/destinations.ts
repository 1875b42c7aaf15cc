import type { Labels, ObjectOf } from "../../kube/object.ts";
import type { MeshSettings, SettingsWith } from "../../view/settings.ts";
import { fact, index, type MeshView, relation, setting } from "../../view/view.ts";
import { workloadsByLabels } from "../membership/captured.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { selectsPods, servicesOfNamespace } from "../membership/services.ts";
import { portsOf, portsOfEntry, type TargetPorts } from "../membership/target-ports.ts";
import type { Workload } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { DestinationRulesByHost, rulesReadByEach } from "../traffic/destination-rule-lookup.ts";
import type { RulesOverHost } from "../traffic/destination-rules-of-host.ts";
import { type DestinationRule, destinationRulesOfVirtualService, hostOfRule } from "../traffic/destination-rules.ts";
import {
  type Definition,
  serviceEntriesBesideService,
  serviceEntriesBesideServiceEntry,
  servicesBesideServiceEntry,
} from "../traffic/definition-choice.ts";
import { coveringHostsOfAll, covers, hostKey, hostOfService, isWildcard, namespaceOfHost } from "../traffic/hosts.ts";
import { backendTlsPoliciesOfNamespace } from "../traffic/backend-tls-policies.ts";
import { setsClientTls } from "./client-tls.ts";
import { hasPolicyRules, policyRuleReads, policyRulesFor, policyRulesOf } from "../traffic/policy-rules.ts";
import { namespaceByName } from "../objects/indexes.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

const allNamespaces = "*";

/** The namespaces whose services the host of a DestinationRule can match; `*`: all. */
export function namespacesOfRule(rule: DestinationRule, settings: MeshSettings): readonly string[] {
  const host = hostOfRule(rule, settings);
  // A rule that no control plane reads has no keys there.
  if (![...destinationRulesOfVirtualService.to.keys(rule, settings)].length) return [];
  if (!isWildcard(host)) return named(namespaceOfHost(host, settings.domain));
  const end = `.svc.${settings.domain}`;
  const key = hostKey(host);
  if (covers(key, `service.namespace${end}`)) return [allNamespaces];
  if (!key.endsWith(end)) return [];
  const namespace = key.slice(2, -end.length);
  return namespace === "" || namespace.includes(".") ? [] : [namespace];
}
const named = (namespace: string | undefined): readonly string[] => (namespace === undefined ? [] : [namespace]);

export const namespaceAndAll = index("Namespace", ({ metadata }) => [metadata.name, allNamespaces]);
const ruleByNamespace = index("DestinationRule", namespacesOfRule);

/** A namespace and the DestinationRules, of any namespace, whose host may be a service of it. */
export const destinationRulesOfNamespace = relation("destinationRulesOfNamespace", namespaceAndAll, ruleByNamespace);
/**
 * A DestinationRule that sets its clients' TLS, which few do, and the namespaces of the services that its host can
 * match.
 */
export const namespacesOfDestinationRule = relation(
  "namespacesOfDestinationRule",
  index("DestinationRule", (rule, settings) => (setsClientTls(rule) ? namespacesOfRule(rule, settings) : [])),
  namespaceAndAll,
);
/** A namespace and those DestinationRules for its services that set their clients' TLS. */
export const tlsRulesOfNamespace = relation(
  "tlsRulesOfNamespace",
  namespacesOfDestinationRule.to,
  namespacesOfDestinationRule.from,
);

/**
 * Whether a ServiceEntry is MESH_INTERNAL (the default is external) and selects pods of its own namespace. Without ports,
 * clients have no cluster for it (Istio pilot/pkg/networking/core/cluster.go buildOutboundClusters).
 */
export const standsForPods = (entry: ServiceEntry, settings: MeshSettings): boolean =>
  Object.keys(entry.spec.workloadSelector?.labels ?? {}).length > 0 &&
  entry.spec.location === "MESH_INTERNAL" &&
  entry.spec.ports.length > 0 &&
  isServed(entry, settings);

/** A namespace and the ServiceEntries in it that select its pods. */
export const serviceEntriesOfNamespace = relation(
  "serviceEntriesOfNamespace",
  namespaceByName,
  index("ServiceEntry", (entry, settings) => (standsForPods(entry, settings) ? [entry.metadata.namespace] : [])),
);

const entryHosts = index("ServiceEntry", (entry, settings) =>
  standsForPods(entry, settings) ? coveringHostsOfAll(entry.spec.hosts) : [],
);
/** A ServiceEntry that selects pods, and the DestinationRules that can match one of its hosts. */
export const destinationRulesOfServiceEntry = relation(
  "destinationRulesOfServiceEntry",
  entryHosts,
  destinationRulesOfVirtualService.to,
);
/**
 * A DestinationRule that sets its clients' TLS, and the ServiceEntries that select pods and have a host that it can
 * match.
 */
export const serviceEntriesOfDestinationRule = relation(
  "serviceEntriesOfDestinationRule",
  index("DestinationRule", (rule, settings) =>
    setsClientTls(rule) ? destinationRulesOfVirtualService.to.keys(rule, settings) : [],
  ),
  entryHosts,
);
/** A ServiceEntry that selects pods, and their namespace. */
export const namespaceOfServiceEntry = relation(
  "namespaceOfServiceEntry",
  serviceEntriesOfNamespace.to,
  serviceEntriesOfNamespace.from,
);

/** A host that is served by pods of one namespace, with DestinationRules of which at least one sets its clients' TLS. */
export interface Destination extends TargetPorts {
  readonly host: string;
  /** Undefined: only DestinationRules name the host, and not all Services are known. */
  readonly object: Service | ServiceEntry | undefined;
  /** The DestinationRules that match the host. */
  readonly rules: RulesOverHost;
  readonly labels: Labels;
  /** All objects that define the host, if `object` is not the only one: only some clients use it (definitionsFor). */
  readonly definitions?: readonly Definition[];
  /** Destinations with the same selector share the list. */
  readonly workloads: readonly Workload[];
}

const revisions = setting("revisions");

/** What `ofServices` reads. */
export const serviceDestinationReads = [
  ...[servicesOfNamespace, destinationRulesOfNamespace, serviceEntriesBesideService, revisions],
  ...policyRuleReads,
] as const;

/** The destinations in a namespace with DestinationRules that set TLS: Services and ServiceEntries with a selector. */
export const destinationsWithTls = fact(
  "destinationsWithTls",
  "Namespace",
  [
    ...serviceDestinationReads,
    serviceEntriesOfNamespace,
    workloadsByLabels,
    tlsRulesOfNamespace,
    destinationRulesOfServiceEntry,
    servicesBesideServiceEntry,
    serviceEntriesBesideServiceEntry,
    backendTlsPoliciesOfNamespace,
  ],
  (namespace, mesh): readonly Destination[] => {
    const entries = entriesWithTls(namespace, mesh);
    const isTlsSet =
      mesh.related(tlsRulesOfNamespace, namespace).length > 0 ||
      mesh.related(backendTlsPoliciesOfNamespace, namespace).length > 0;
    // Rules that set TLS are rare. Without any, nothing else has to be read.
    if (!isTlsSet && entries.length === 0) return [];
    const selected = selecting(namespace, mesh);
    return [
      ...(isTlsSet ? ofServices(namespace, mesh, selected, isTlsSetBy) : []),
      ...ofEntries(entries, namespace, mesh, selected),
    ];
  },
);

type Select = (labels: Labels) => readonly Workload[];

/** Selects workloads of a namespace. Proxies such as gateways are no servers of a host. */
export function selecting(namespace: Namespace, mesh: MeshView<typeof workloadsByLabels>): Select {
  const { workloads } = mesh.get(workloadsByLabels, namespace.metadata.name);
  const known = new Set<readonly Workload[]>();
  return (labels) => {
    const found = workloads.selected(labels);
    if (!known.has(found)) mesh.visited(found.length);
    known.add(found);
    return found;
  };
}

type PolicyReads = (typeof policyRuleReads)[number];
type ServiceView = MeshView<(typeof serviceDestinationReads)[number]>;
type EntryView = MeshView<
  PolicyReads | typeof revisions | typeof servicesBesideServiceEntry | typeof serviceEntriesBesideServiceEntry
>;

/** The Services of a namespace with a selector, of which the DestinationRules are of interest. */
export function* ofServices(
  namespace: Namespace,
  mesh: ServiceView,
  selected: Select,
  isOfInterest: typeof isTlsSetBy,
): Iterable<Destination> {
  const { domain } = mesh.settings;
  const all = mesh.related(destinationRulesOfNamespace, namespace);
  const services = mesh.related(servicesOfNamespace, namespace);
  const made = hasPolicyRules(mesh) ? madeFor(services, mesh) : [];
  const rules = new DestinationRulesByHost([...made, ...all], mesh.settings);
  const named = new Set<string>();
  for (const service of services) {
    const host = hostOfService(service, domain);
    const { selector: labels } = service.spec;
    const hosts = rules.hostsOver(host);
    for (const over of hosts) named.add(over);
    const own = rules.over(host, hosts);
    if (!isOfInterest(own, host, namespace, mesh.settings) || !selectsPods(service)) continue;
    const beside = besideService(service, mesh);
    const { ports, workloadPort } = portsOf(service);
    yield { host, object: service, rules: own, labels, workloads: selected(labels), ports, workloadPort, ...beside };
  }
  if (mesh.knowsAll("Service")) return;
  // A Service that the view does not contain may exist.
  const ports = portsNamed(all);
  for (const host of rules.hosts)
    if (!named.has(host) && isOfInterest(rules.over(host), host, namespace, mesh.settings))
      yield { host, object: undefined, rules: rules.over(host), labels: {}, workloads: [], ...ports };
}

const madeFor = (services: readonly Service[], mesh: ServiceView): readonly DestinationRule[] =>
  services.flatMap((service) =>
    policyRulesFor(hostOfService(service, mesh.settings.domain), definitionsWith(service, mesh), mesh),
  );

const besideService = (service: Service, mesh: ServiceView): Pick<Destination, "definitions"> =>
  mesh.hasAny(serviceEntriesBesideService)
    ? definedBeside(service, mesh.related(serviceEntriesBesideService, service))
    : aloneDefined;

/** A Service, and the ServiceEntries that define its host too. */
const definitionsWith = (service: Service, mesh: ServiceView): readonly Definition[] => [
  service,
  ...mesh.related(serviceEntriesBesideService, service),
];

const tlsSetBy = new WeakMap<RulesOverHost, boolean>();

/**
 * Whether some client of some control plane may use a rule that sets TLS for a service of this namespace. The result is stored, because
 * many hosts have the same rules.
 */
function isTlsSetBy(
  over: RulesOverHost,
  host: string,
  { metadata }: Namespace,
  settings: SettingsWith<"revisions">,
): boolean {
  let known = tlsSetBy.get(over);
  if (known === undefined) {
    const owners = new Set([metadata.name]);
    const isSet = (read: RulesOverHost) => {
      const forAll = read.ruleForAll(owners);
      return forAll === undefined ? read.rules.some(setsClientTls) : setsClientTls(forAll);
    };
    tlsSetBy.set(
      over,
      (known = over.rules.some(setsClientTls) && [...rulesReadByEach(over, host, settings)].some(isSet)),
    );
  }
  return known;
}

/** The ServiceEntries of a namespace with DestinationRules that set TLS, and these rules. */
function entriesWithTls(
  namespace: Namespace,
  mesh: MeshView<typeof serviceEntriesOfNamespace | typeof destinationRulesOfServiceEntry | PolicyReads>,
): readonly (readonly [ServiceEntry, readonly DestinationRule[]])[] {
  return mesh.related(serviceEntriesOfNamespace, namespace).flatMap((entry) => {
    const rules = mesh.related(destinationRulesOfServiceEntry, entry);
    const isMade = policyRulesOf(entry, mesh).size > 0;
    return isMade || rules.some(setsClientTls) ? [[entry, rules] as const] : [];
  });
}

function* ofEntries(
  entries: ReturnType<typeof entriesWithTls>,
  namespace: Namespace,
  mesh: EntryView,
  selected: Select,
): Iterable<Destination> {
  for (const [entry, all] of entries) {
    const others = othersByHost(entry, mesh);
    const made = [...new Set(entry.spec.hosts)].flatMap((host) =>
      policyRulesFor(host, [entry, ...(others.get(host) ?? [])], mesh),
    );
    const rules = new DestinationRulesByHost([...made, ...all], mesh.settings);
    const labels = entry.spec.workloadSelector?.labels ?? {};
    for (const host of entry.spec.hosts) {
      const own = rules.over(host);
      if (!isTlsSetBy(own, host, namespace, mesh.settings)) continue;
      const beside = definedBeside(entry, others.get(host) ?? []);
      yield { host, object: entry, rules: own, labels, workloads: selected(labels), ...beside, ...portsOfEntry(entry) };
    }
  }
}

/** The other objects that define hosts of a ServiceEntry. */
function othersByHost(entry: ServiceEntry, mesh: EntryView): ReadonlyMap<string, readonly Definition[]> {
  const found = new Map<string, Definition[]>();
  const services = mesh.related(servicesBesideServiceEntry, entry);
  for (const service of services) found.set(hostOfService(service, mesh.settings.domain), [service]);
  const hosts = new Set(entry.spec.hosts);
  for (const other of mesh.related(serviceEntriesBesideServiceEntry, entry)) {
    if (other === entry) continue;
    mesh.visited(other.spec.hosts.length);
    for (const host of new Set(other.spec.hosts))
      if (hosts.has(host)) found.set(host, [...(found.get(host) ?? []), other]);
  }
  return found;
}

const definedBeside = (own: Definition, others: readonly Definition[]): Pick<Destination, "definitions"> =>
  others.length > 0 ? { definitions: [own, ...others] } : aloneDefined;
const aloneDefined: Pick<Destination, "definitions"> = {};

/** Stands for all ports that no object names. */
export const anyPort = 0;

/** The ports for which rules have entries, and one that represents all other ports. */
const portsNamed = (rules: readonly DestinationRule[]): TargetPorts => ({
  ports: [anyPort, ...rules.flatMap(portNumbers)],
  workloadPort: () => undefined,
});
const portNumbers = ({ spec }: DestinationRule): readonly number[] =>
  [spec.trafficPolicy, ...spec.subsets.map(({ trafficPolicy }) => trafficPolicy)]
    .flatMap((policy) => policy?.portLevelSettings ?? [])
    .flatMap(({ port }) => (port?.number === undefined ? [] : [port.number]));

/** The pods with the labels of a subset; if there are none, all pods of the host represent them. */
export function podsOfSubset<Pod extends { readonly workload: Workload | undefined }>(
  labels: Labels,
  pods: readonly Pod[],
): readonly Pod[] {
  const own = pods.filter(({ workload }) => workload !== undefined && selects(labels, workload.pod.labels));
  return own.length === 0 ? pods : own;
}
