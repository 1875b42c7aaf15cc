import { keyOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type Capture, captureOf, enrollmentOf } from "../membership/capture.ts";
import { type Interception, interceptionOf, interceptsAll, isIntercepted } from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import {
  atPort,
  mtlsOf,
  type NamespaceMtls,
  type peerAuthenticationsOfNamespace,
  type Plane,
} from "../mtls/effective-mtls.ts";
import type { EffectiveMode, Modes } from "../mtls/peer-authentications.ts";
import {
  type DestinationRule,
  destinationRulesFor,
  destinationRulesOfSome,
  type MergedDestinationRule,
} from "../traffic/destination-rules.ts";
import { type ClientTls, type ClientTlsChoice, clientTlsOf, setsClientTls } from "./client-tls.ts";
import {
  anyPort,
  type Destination,
  destinationRulesOfNamespace,
  destinationRulesOfServiceEntry,
  destinationsOf,
  podsOfSubset,
  type ReadsDestinations,
  serviceEntriesOfNamespace,
} from "./destinations.ts";
import { namespaceByName } from "../objects/indexes.ts";

/**
 * A DestinationRule that sets its clients' TLS, and the client namespaces that it names: its own, and those in
 * exportTo.
 */
export const clientsOfDestinationRule = relation(
  "clientsOfDestinationRule",
  index("DestinationRule", (rule) =>
    setsClientTls(rule) ? new Set([rule.metadata.namespace, ...rule.spec.exportTo]) : [],
  ),
  namespaceByName,
);

export type ReadsClientTls = ReadsDestinations | typeof peerAuthenticationsOfNamespace;

/** A port of a workload, or of future pods, that clients reach with the TLS that a DestinationRule sets. */
export interface Arrival {
  readonly destination: Destination;
  /** Undefined: no workload of the host is known. */
  readonly workload: Workload | undefined;
  readonly capture: Capture;
  /**
   * The mTLS mode of the workload's proxy at this port; undefined: it has no proxy, or an annotation makes the port
   * bypass it.
   */
  readonly server: EffectiveMode | undefined;
}

/** One field of a DestinationRule that sets the TLS of its clients for workloads of a namespace. */
export interface TlsPath {
  readonly rule: DestinationRule;
  readonly choice: ClientTlsChoice;
  readonly tls: ClientTls;
  /** The namespaces whose clients use it, in groups with the same result; `""`: every other namespace. */
  readonly clients: ReadonlySet<readonly string[]>;
  readonly arrivals: readonly Arrival[];
}
interface Draft extends TlsPath {
  readonly clients: Set<readonly string[]>;
  readonly arrivals: Arrival[];
  /** The keys of the arrivals that were added already. */
  readonly known: Set<string>;
}

/** Stands for any namespace that no rule and no exportTo names. */
const anyOther = "";

/** The fields of DestinationRules that make clients use plaintext, or TLS other than the mesh's, for a namespace. */
export function tlsPathsInto(namespace: Namespace, mesh: MeshView<ReadsClientTls>): readonly TlsPath[] {
  const paths = new Map<string, Draft>();
  if (!isTlsSet(namespace, mesh)) return [];
  const mtls = mtlsOf(namespace, mesh);
  for (const destination of destinationsOf(namespace, mesh)) {
    if (!destination.rules.some(setsClientTls)) continue;
    const servers = serversOf(destination, namespace, mtls);
    for (const { used, clients } of usesOf(destination, namespace.metadata.name, mesh.settings))
      for (const asked of choicesOf(used, destination.ports)) addTo(paths, clients, asked, servers);
  }
  return [...paths.values()];
}

/** Rules that set TLS are rare. Without any, nothing else has to be read. */
const isTlsSet = (namespace: Namespace, mesh: MeshView<ReadsClientTls>): boolean =>
  mesh.related(destinationRulesOfNamespace, namespace).some(setsClientTls) ||
  mesh
    .related(serviceEntriesOfNamespace, namespace)
    .some((entry) => mesh.related(destinationRulesOfServiceEntry, entry).some(setsClientTls));

function addTo(
  paths: Map<string, Draft>,
  clients: readonly string[],
  { choice, ports, subset }: Asked,
  servers: Servers,
): void {
  const { rule, tls } = choice;
  if (rule === undefined || (tls !== "plaintext" && tls !== "tls")) return;
  const key = JSON.stringify([keyOf(rule), choice.at, tls]);
  const path = paths.get(key) ?? { rule, choice, tls, clients: new Set(), arrivals: [], known: new Set() };
  paths.set(key, path);
  path.clients.add(clients);
  for (const arrival of servers(ports, subset)) {
    const id = idOfArrival(arrival);
    if (!path.known.has(id)) path.arrivals.push(arrival);
    path.known.add(id);
  }
}

function idOfArrival({ destination, workload, server }: Arrival): string {
  const by = server?.by && keyOf(server.by);
  return JSON.stringify([destination.host, workload && keyOf(workload), server?.mode, by]);
}

interface Use {
  readonly used: MergedDestinationRule;
  readonly clients: readonly string[];
}

/** The merged DestinationRules that clients use for a destination. */
function usesOf({ host, rules }: Destination, namespace: string, settings: MeshSettings): readonly Use[] {
  return clientGroups(rules, namespace, settings).flatMap((clients) => {
    const [client = anyOther] = clients;
    const merged = destinationRulesFor(client, { host, namespace }, rules, settings);
    return destinationRulesOfSome(client, merged).flatMap((used) => (used === undefined ? [] : [{ used, clients }]));
  });
}

/** The client namespaces that can get different rules, grouped by the rules that are exported to them. */
function clientGroups(
  rules: readonly DestinationRule[],
  namespace: string,
  { rootNamespace }: MeshSettings,
): readonly (readonly string[])[] {
  const alone = new Set([...rules.map(({ metadata }) => metadata.namespace), namespace, rootNamespace, anyOther]);
  const exports = new Map<string, string>();
  for (const [i, { spec }] of rules.entries())
    for (const to of new Set(spec.exportTo))
      if (!alone.has(to) && to !== "*" && to !== ".") exports.set(to, `${exports.get(to) ?? ""} ${i}`);
  const together = Map.groupBy(exports.keys(), (client) => exports.get(client));
  return [...[...alone].map((client) => [client]), ...together.values()];
}

/** A TLS setting and the ports that it applies to; `subset` undefined: for all pods of the host. */
interface Asked {
  readonly choice: ClientTlsChoice;
  readonly ports: readonly number[];
  readonly subset?: Destination["labels"];
}
type Servers = (ports: readonly number[], subset: Destination["labels"] | undefined) => readonly Arrival[];

/** Each setting once: ports without an entry share one, and a subset without tls has that of the rule. */
function* choicesOf(used: MergedDestinationRule, all: readonly number[]): Iterable<Asked> {
  const ports = all.length > 0 ? all : [anyPort];
  yield* apart(ports, used.trafficPolicy, true, (port) => clientTlsOf(used, port));
  for (const subset of used.subsets)
    if (subset.trafficPolicy !== undefined)
      for (const asked of apart(ports, subset.trafficPolicy, subset.trafficPolicy.tls !== undefined, (port) =>
        clientTlsOf(used, port, subset),
      ))
        yield { ...asked, subset: subset.labels };
}

function* apart(
  ports: readonly number[],
  policy: MergedDestinationRule["trafficPolicy"],
  hasRest: boolean,
  choose: (port: number) => ClientTlsChoice,
): Iterable<Asked> {
  const entries = policy?.portLevelSettings ?? [];
  const named = new Set(entries.map(({ port }) => port?.number));
  for (const port of ports) if (named.has(port)) yield { choice: choose(port), ports: [port] };
  const rest = named.size === 0 ? ports : ports.filter((port) => !named.has(port));
  const [first] = rest;
  if (hasRest && first !== undefined) yield { choice: choose(first), ports: rest };
}

/** The workloads that receive the traffic at these ports. If none is known, the pods that the selector describes. */
function serversOf(destination: Destination, namespace: Namespace, mtls: NamespaceMtls): Servers {
  const workloads = destination.workloads.length > 0 ? destination.workloads : [undefined];
  const pods = workloads.map((workload) => {
    const capture = workload === undefined ? captureOfComing(namespace) : captureOf(workload, namespace);
    const plane: Plane = capture === "ambient" ? "ambient" : "sidecar";
    return {
      workload,
      capture,
      modes: mtls.of(workload?.pod.labels ?? destination.labels, plane),
      interception: workload && interceptionOf(workload.pod, plane),
    };
  });
  const known = new Map<readonly number[], readonly Arrival[]>();
  return (ports, subset) => {
    if (subset !== undefined) return podsOfSubset(subset, pods).flatMap((pod) => arrivalsAt(ports, pod, destination));
    const found = known.get(ports) ?? pods.flatMap((pod) => arrivalsAt(ports, pod, destination));
    known.set(ports, found);
    return found;
  };
}

interface Pods {
  readonly workload: Workload | undefined;
  readonly capture: Capture;
  readonly modes: Modes;
  /** Undefined: no pods are known. */
  readonly interception: Interception | undefined;
}

function arrivalsAt(ports: readonly number[], pods: Pods, destination: Destination): readonly Arrival[] {
  const { workload, capture, modes, interception } = pods;
  if (capture === "none") return [{ destination, workload, capture, server: undefined }];
  const isWhole = interception === undefined || interceptsAll(interception);
  if (modes.ports.size === 0 && isWhole) return [{ destination, workload, capture, server: modes.mode }];
  const servers = ports.map((port) => {
    const number = destination.workloadPort(port, workload);
    if (number === undefined) return modes.mode;
    return isWhole || isIntercepted(interception, number) ? atPort(modes, number) : undefined;
  });
  return [...new Set(servers)].map((server) => ({ destination, workload, capture, server }));
}

function captureOfComing(namespace: Namespace): Capture {
  const enrollment = enrollmentOf(namespace);
  if (enrollment === "sidecar" || enrollment === "ambient-and-sidecar") return "sidecar";
  if (enrollment === "ambient" || enrollment === "unknown") return enrollment;
  return "none";
}
