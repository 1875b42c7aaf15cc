import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { isServed } from "../objects/revision.ts";
import { selects } from "../objects/selectors.ts";
import { type DestinationRule, destinationRulesOfVirtualService, hostOfRule } from "../traffic/destination-rules.ts";
import { coveringHostsOfAll, covers, hostKey, hostOfService, isWildcard, namespaceOfHost } from "../traffic/hosts.ts";
import { setsClientTls } from "./client-tls.ts";
import { namespaceByName } from "../objects/indexes.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

const allNamespaces = "*";

/** The namespaces whose services the host of a DestinationRule can match; `*`: all. */
function namespacesOfRule(rule: DestinationRule, settings: MeshSettings): readonly string[] {
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

const namespaceAndAll = index("Namespace", ({ metadata }) => [metadata.name, allNamespaces]);
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

/** Whether a ServiceEntry is MESH_INTERNAL (the default is external) and selects pods of its own namespace. */
export const standsForPods = (entry: ServiceEntry, settings: MeshSettings): boolean =>
  Object.keys(entry.spec.workloadSelector?.labels ?? {}).length > 0 &&
  entry.spec.location === "MESH_INTERNAL" &&
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

export const readsDestinations = [
  servicesOfNamespace,
  serviceEntriesOfNamespace,
  workloadsOfNamespace,
  destinationRulesOfNamespace,
  destinationRulesOfServiceEntry,
] as const;
export type ReadsDestinations = (typeof readsDestinations)[number];

/** A host that is served by pods of one namespace. */
export interface Destination {
  readonly host: string;
  /** Undefined: only DestinationRules name the host, and not all Services are known. */
  readonly object: Service | ServiceEntry | undefined;
  /** The DestinationRules that can match the host. */
  readonly rules: readonly DestinationRule[];
  /** The port numbers that clients use. */
  readonly ports: readonly number[];
  readonly labels: Readonly<Record<string, string>>;
  readonly workloads: readonly Workload[];
  /** The port of the workload for a port of the host; undefined: its number is not known. */
  workloadPort(port: number, workload: Workload | undefined): number | undefined;
}

/** The destinations in a namespace that have DestinationRules: Services and ServiceEntries with a selector. */
export function destinationsOf(namespace: Namespace, mesh: MeshView<ReadsDestinations>): readonly Destination[] {
  const pods = mesh.related(workloadsOfNamespace, namespace).filter((workload) => !isProxy(workload));
  const selected = (labels: Destination["labels"]) => pods.filter(({ pod }) => selects(labels, pod.labels));
  return [...ofServices(namespace, mesh, selected), ...ofEntries(namespace, mesh, selected)];
}

type Select = (labels: Destination["labels"]) => readonly Workload[];

function* ofServices(namespace: Namespace, mesh: MeshView<ReadsDestinations>, selected: Select): Iterable<Destination> {
  const { settings } = mesh;
  const rules = mesh.related(destinationRulesOfNamespace, namespace);
  if (rules.length === 0) return;
  const covering = (host: string) => rules.filter((rule) => covers(hostOfRule(rule, settings), host));
  const known: string[] = [];
  for (const service of mesh.related(servicesOfNamespace, namespace)) {
    const host = hostOfService(service, settings.domain);
    const { selector: labels, type } = service.spec;
    known.push(host);
    const own = covering(host);
    if (own.length === 0 || type === "ExternalName" || Object.keys(labels).length === 0) continue;
    yield { host, object: service, rules: own, labels, workloads: selected(labels), ...portsOf(service) };
  }
  if (mesh.knowsAll("Service")) return;
  // A Service that the view does not contain may exist.
  for (const host of new Set(rules.map((rule) => hostOfRule(rule, settings))))
    if (!known.some((other) => covers(host, other)))
      yield { host, object: undefined, rules: covering(host), labels: {}, workloads: [], ...portsNamed(rules) };
}

function* ofEntries(namespace: Namespace, mesh: MeshView<ReadsDestinations>, selected: Select): Iterable<Destination> {
  for (const entry of mesh.related(serviceEntriesOfNamespace, namespace)) {
    const rules = mesh.related(destinationRulesOfServiceEntry, entry);
    const labels = entry.spec.workloadSelector?.labels ?? {};
    for (const host of rules.length === 0 ? [] : entry.spec.hosts) {
      const own = rules.filter((rule) => covers(hostOfRule(rule, mesh.settings), host));
      if (own.length > 0)
        yield { host, object: entry, rules: own, labels, workloads: selected(labels), ...portsOfEntry(entry) };
    }
  }
}

export type Ports = Pick<Destination, "ports" | "workloadPort">;

export function portsOf({ spec }: Service): Ports {
  return {
    ports: spec.ports.flatMap(({ port }) => (port === undefined ? [] : [port])),
    workloadPort(number, workload) {
      const target = spec.ports.find(({ port }) => port === number)?.targetPort;
      if (typeof target !== "string") return target || number;
      return workload?.pod.ports.find(({ name }) => name === target)?.number;
    },
  };
}

export function portsOfEntry({ spec }: ServiceEntry): Ports {
  return {
    ports: spec.ports.flatMap(({ number }) => (number === undefined ? [] : [number])),
    workloadPort: (port) => spec.ports.find(({ number }) => number === port)?.targetPort ?? port,
  };
}

/** Stands for all ports that no object names. */
export const anyPort = 0;

/** The ports for which rules have entries, and one that represents all other ports. */
const portsNamed = (rules: readonly DestinationRule[]): Ports => ({
  ports: [anyPort, ...rules.flatMap(portNumbers)],
  workloadPort: () => undefined,
});
const portNumbers = ({ spec }: DestinationRule): readonly number[] =>
  [spec.trafficPolicy, ...spec.subsets.map(({ trafficPolicy }) => trafficPolicy)]
    .flatMap((policy) => policy?.portLevelSettings ?? [])
    .flatMap(({ port }) => (port?.number === undefined ? [] : [port.number]));

/** The pods with the labels of a subset; if there are none, all pods of the host represent them. */
export function podsOfSubset<Pod extends { readonly workload: Workload | undefined }>(
  labels: Destination["labels"],
  pods: readonly Pod[],
): readonly Pod[] {
  const own = pods.filter(({ workload }) => workload !== undefined && selects(labels, workload.pod.labels));
  return own.length === 0 ? pods : own;
}
