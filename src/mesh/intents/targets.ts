import { idOf } from "../../kube/identity.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { anyPort } from "../client-tls/destinations.ts";
import { portsOf } from "../membership/target-ports.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { Labelled } from "../objects/labelled.ts";
import { aliased, aliasReads } from "../requests/aliases.ts";
import { isAlias } from "../traffic/aliased-hosts.ts";
import { entriesFor, portNumbersOf } from "../requests/definitions.ts";
import { serviceEntryByHost } from "../traffic/definition-choice.ts";
import { entryByOpenPort } from "../requests/every-address.ts";
import type { Target } from "../requests/question.ts";
import { coveringHosts } from "../traffic/hosts.ts";
import { type Intent, namespaceOfIntent } from "./intents.ts";

/** An intent about a host, by the keys of the names that cover it. */
export const hostOfIntent = index("MeshwardIntent", ({ spec: { to } }) =>
  to.host === undefined ? [] : coveringHosts(to.host.toLowerCase()),
);
/** An intent about a host, and the ServiceEntries that may have a name for it. */
export const entriesOfIntent = relation("entriesOfIntent", hostOfIntent, serviceEntryByHost);

/** An intent about a host, and the ServiceEntries that may take the connections to it because they take all at its port. */
export const openEntriesOfIntent = relation(
  "openEntriesOfIntent",
  index("MeshwardIntent", ({ spec: { to } }) =>
    to.host === undefined ? [] : to.ports.flatMap((port) => (port === undefined ? [] : String(port))),
  ),
  entryByOpenPort,
);

/** A fact, because a namespace can have as many intents as Services. */
const servicesByName = fact(
  "servicesByName",
  "Namespace",
  [servicesOfNamespace],
  (namespace, mesh): ReadonlyMap<string, Service> =>
    new Map(mesh.related(servicesOfNamespace, namespace).map((service) => [service.metadata.name, service])),
);

/** The same for workloads. Proxies of gateways are no targets: requests to them are those to what is behind them. */
export const workloadsByLabel = fact("workloadsByLabel", "Namespace", [workloadsOfNamespace], (namespace, mesh) => {
  const workloads = mesh.related(workloadsOfNamespace, namespace).filter((workload) => !isProxy(workload));
  return new Labelled(workloads, ({ pod }) => pod.labels);
});

/** What `targetsOf` reads. */
export const targetReads = [
  namespaceOfIntent,
  servicesByName,
  servicesOfNamespace,
  workloadsByLabel,
  workloadsOfNamespace,
  entriesOfIntent,
  ...aliasReads,
] as const;
export type TargetView = MeshView<(typeof targetReads)[number]>;

/** What an intent is about, in the mesh. */
export interface Targets {
  readonly targets: readonly Target[];
  /** Why nothing can be said, or not of everything; undefined: all targets are known. */
  readonly unknown: string | undefined;
  /** Why no request can get to any of them, so that their denial shows nothing; undefined: they can. */
  readonly missing?: string;
}

const nothing: Targets = { targets: [], unknown: undefined };

/** The ports of the service or of the pods that an intent of one namespace names. */
export function targetsOf(intent: Intent, mesh: TargetView): Targets {
  const [namespace] = mesh.related(namespaceOfIntent, intent);
  const { service: name, host, workloads: labels, ports } = intent.spec.to;
  if (namespace === undefined) return nothing;
  if (name !== undefined) {
    const service = serviceIn(namespace, name, mesh);
    if (service === undefined) return { targets: [], unknown: missingService(namespace, name, mesh) };
    return targetsAt(service, namespace, ports, mesh);
  }
  if (host !== undefined) return targetsOutside(host.toLowerCase(), { intent, namespace }, mesh);
  if (labels === undefined) return nothing;
  const selected = mesh.get(workloadsByLabel, namespace).selected(labels);
  mesh.visited(selected.length);
  return targetsAmong(selected, namespace, ports, mesh);
}

/** The ports of every workload of a namespace that an intent of the root namespace is about. */
export const targetsIn = (namespace: Namespace, intent: Intent, mesh: TargetView): Targets =>
  targetsAmong(mesh.get(workloadsByLabel, namespace).all, namespace, intent.spec.to.ports, mesh);

export const serviceIn = (namespace: Namespace, name: string, mesh: TargetView): Service | undefined =>
  mesh.get(servicesByName, namespace).get(name);

const missingService = ({ metadata }: Namespace, name: string, mesh: TargetView): string =>
  mesh.knowsAll("Service")
    ? `there is no Service ${metadata.name}/${name}`
    : `the Service ${metadata.name}/${name} is not known`;

/** Requests to ports that are asked for and that the Service does not have reach nothing. */
function targetsAt(
  service: Service,
  namespace: Namespace,
  wanted: Intent["spec"]["to"]["ports"],
  mesh: TargetView,
): Targets {
  const ports = portsOfService(service, mesh);
  const asked = wanted.flatMap((port) => port ?? []);
  const targets = (asked.length === 0 ? ports : asked).map(
    (port) => ({ kind: "service", service, namespace, port }) as const,
  );
  const isMissing = asked.length > 0 && !asked.some((port) => ports.includes(port));
  const missing = `${idOf(service)} has no port ${asked.join(", ")}`;
  return { targets, unknown: undefined, ...(isMissing ? { missing } : {}) };
}

/** An alias without ports has those of what it stands for. */
export function portsOfService(service: Service, mesh: TargetView): readonly number[] {
  const { ports } = portsOf(service);
  if (!isAlias(service) || ports.length > 0) return ports;
  return [...new Set(aliased(service, mesh).definitions.flatMap(portNumbersOf))];
}

/** The ports of a host outside the mesh: those that are asked for, or those of its ServiceEntries. */
function targetsOutside(
  host: string,
  { intent, namespace: home }: { readonly intent: Intent; readonly namespace: Namespace },
  mesh: TargetView,
): Targets {
  const entries = entriesFor(host, mesh.related(entriesOfIntent, intent));
  mesh.visited(entries.length);
  const wanted = intent.spec.to.ports.flatMap((port) => port ?? []);
  const ports = wanted.length > 0 ? wanted : [...new Set(entries.flatMap(portNumbersOf))];
  const targets = ports.map((port): Target => ({ kind: "host", host, entries, namespace: home, port }));
  return { targets, unknown: targets.length > 0 ? undefined : `no ServiceEntry defines ${host}, and no port is given` };
}

/**
 * Workloads by the ports at which requests reach them: those that are asked for, or those that their containers declare and
 * one that stands for all others.
 */
function targetsAmong(
  workloads: readonly Workload[],
  namespace: Namespace,
  wanted: Intent["spec"]["to"]["ports"],
  mesh: TargetView,
): Targets {
  const byPort = new Map<number, Workload[]>();
  for (const workload of workloads)
    for (const port of wanted.length > 0 ? wanted : portsOfPods(workload)) {
      if (port === undefined) continue;
      const there = byPort.get(port);
      if (there === undefined) byPort.set(port, [workload]);
      else there.push(workload);
    }
  const targets = [...byPort].map(([port, some]): Target => ({ kind: "workloads", workloads: some, namespace, port }));
  return { targets, unknown: mesh.knowsAll("Workload") ? undefined : "not all workloads are known" };
}

const portsOfPods = ({ pod }: Workload): ReadonlySet<number | undefined> =>
  new Set([...pod.ports.map(({ number }) => number), anyPort]);
