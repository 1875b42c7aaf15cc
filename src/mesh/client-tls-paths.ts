import { keyOf } from "../kube/kinds.ts";
import { type Capture, captureOf, enrollmentOf } from "./ambient.ts";
import { type ClientTls, type ClientTlsChoice, clientTlsOf, setsClientTls } from "./client-tls.ts";
import {
  type DestinationRule,
  destinationRulesFor,
  destinationRulesOfSome,
  type MergedDestinationRule,
} from "./destination-rules.ts";
import { type Destination, destinationsOf, type ReadsDestinations } from "./destinations.ts";
import { atPort, mtlsOf, type NamespaceMtls, type peerAuthenticationsOfNamespace, type Plane } from "./mtls.ts";
import type { Namespace } from "./namespaces.ts";
import type { Verdict } from "./peer-authentications.ts";
import type { MeshSettings } from "./settings.ts";
import { index, type MeshView, relation } from "./view.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "./workloads.ts";

/** A DestinationRule that sets its clients' TLS, and the namespace that it is in: its own clients. */
export const namespaceOfDestinationRule = relation(
  "namespaceOfDestinationRule",
  index("DestinationRule", (rule) => (setsClientTls(rule) ? [rule.metadata.namespace] : [])),
  index("Namespace", ({ metadata }) => [metadata.name]),
);

export type ReadsClientTls = ReadsDestinations | typeof peerAuthenticationsOfNamespace;

/** Where a port of a workload, or of pods that may come, is reached with the TLS that a DestinationRule sets. */
export interface Arrival {
  readonly destination: Destination;
  /** Undefined: no workload that the host selects is known. */
  readonly workload: Workload | undefined;
  readonly capture: Capture;
  /** What the workload's proxy takes at this port; undefined: it has none, or nobody knows. */
  readonly server: Verdict | undefined;
}

/** One place in a DestinationRule that sets what its clients send to workloads of a namespace. */
export interface TlsPath {
  readonly rule: DestinationRule;
  readonly choice: ClientTlsChoice;
  readonly tls: ClientTls;
  /** The namespaces whose clients use it; `""`: any that nothing names. */
  readonly clients: ReadonlySet<string>;
  readonly arrivals: readonly Arrival[];
}
interface Draft extends TlsPath {
  readonly clients: Set<string>;
  readonly arrivals: Arrival[];
}

/** Any namespace that neither a rule nor an exportTo names. */
const anyOther = "";

/** The places in DestinationRules that make clients send plaintext, or TLS of their own, to a namespace. */
export function tlsPathsInto(namespace: Namespace, mesh: MeshView<ReadsClientTls>): readonly TlsPath[] {
  const paths = new Map<string, Draft>();
  let mtls: NamespaceMtls | undefined;
  for (const destination of destinationsOf(namespace, mesh)) {
    if (!destination.rules.some(setsClientTls)) continue;
    mtls ??= mtlsOf(namespace, mesh);
    for (const { choice, client, port } of choicesFor(destination, namespace.metadata.name, mesh.settings)) {
      const { rule, tls } = choice;
      if (rule === undefined || (tls !== "plaintext" && tls !== "tls")) continue;
      const key = JSON.stringify([keyOf(rule), choice.at, tls]);
      const path = paths.get(key) ?? { rule, choice, tls, clients: new Set(), arrivals: [] };
      paths.set(key, path);
      path.clients.add(client);
      addArrivals(path, { destination, port, namespace, mtls });
    }
  }
  return [...paths.values()];
}

interface Asked {
  readonly choice: ClientTlsChoice;
  readonly client: string;
  readonly port: number;
}

function choicesFor(destination: Destination, namespace: string, settings: MeshSettings): readonly Asked[] {
  const { host, rules } = destination;
  const ports = destination.ports.length > 0 ? destination.ports : [0];
  return [...clientsThatMatter(rules, namespace)].flatMap((client) => {
    const merged = destinationRulesFor(client, { host, namespace }, rules, settings);
    return destinationRulesOfSome(client, merged).flatMap((used) =>
      ports.flatMap((port) => choicesOf(used, port).map((choice) => ({ choice, client, port }))),
    );
  });
}

/** With each subset, and with none. */
const choicesOf = (used: MergedDestinationRule | undefined, port: number): readonly ClientTlsChoice[] =>
  [undefined, ...(used?.subsets ?? [])].map((subset) => clientTlsOf(used, port, subset));

const clientsThatMatter = (rules: readonly DestinationRule[], namespace: string): ReadonlySet<string> =>
  new Set([
    ...rules.map(({ metadata }) => metadata.namespace),
    namespace,
    ...rules.flatMap(({ spec }) => spec.exportTo.filter((to) => to !== "*" && to !== ".")),
    anyOther,
  ]);

interface Target {
  readonly destination: Destination;
  readonly port: number;
  readonly namespace: Namespace;
  readonly mtls: NamespaceMtls;
}

/** Where nothing that the host selects is known, the pods that would be made by the selector alone. */
function addArrivals({ arrivals }: Draft, target: Target): void {
  const { destination, namespace } = target;
  const workloads = destination.workloads.length > 0 ? destination.workloads : [undefined];
  for (const workload of workloads) {
    const capture = workload === undefined ? captureOfComing(namespace) : captureOf(workload, namespace);
    for (const server of serversOf(workload, capture, target)) {
      const isKnown = arrivals.some(
        (other) =>
          other.destination === destination &&
          other.workload === workload &&
          other.server?.mode === server?.mode &&
          other.server?.by === server?.by,
      );
      if (!isKnown) arrivals.push({ destination, workload, capture, server });
    }
  }
}

function captureOfComing(namespace: Namespace): Capture {
  const enrollment = enrollmentOf(namespace);
  if (enrollment === "sidecar" || enrollment === "ambient-and-sidecar") return "sidecar";
  if (enrollment === "ambient" || enrollment === "unknown") return enrollment;
  return "none";
}

function serversOf(
  workload: Workload | undefined,
  capture: Capture,
  { destination, port, mtls }: Target,
): readonly (Verdict | undefined)[] {
  if (capture === "none") return [undefined];
  const plane: Plane = capture === "ambient" ? "ambient" : "sidecar";
  const modes = mtls.of(workload?.pod.labels ?? destination.labels, plane);
  const number = destination.workloadPort(port, workload);
  return [number === undefined ? modes.mode : atPort(modes, number)];
}

/**
 * Whether a namespace has clients that DestinationRules say anything to: sidecars, gateways and waypoints. ztunnel reads
 * none, and neither does what is not in the mesh.
 */
export function hasProxies(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): boolean | undefined {
  const workloads = mesh.related(workloadsOfNamespace, namespace);
  const captures = workloads.map((workload) => (isProxy(workload) ? "sidecar" : captureOf(workload, namespace)));
  if (captures.includes("sidecar")) return true;
  const enrollment = enrollmentOf(namespace);
  if (enrollment === "unknown" || captures.includes("unknown")) return undefined;
  if (workloads.length > 0 && mesh.knowledge("Workload") === "complete") return false;
  if (enrollment === "sidecar" || enrollment === "ambient-and-sidecar") return true;
  return mesh.knowledge("Workload") === "complete" ? false : undefined;
}
