import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { MeshView } from "../../view/view.ts";
import { captureOf } from "../membership/capture.ts";
import type { InjectorSettings } from "../membership/injector-selectors.ts";
import { captured } from "../membership/captured.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { portByNumber } from "../membership/service-protocol.ts";
import {
  hasProxy,
  isOnlyForDns,
  labelsOfWorkloadEntry,
  type Machine,
  workloadEntriesOfNamespace,
  workloadOfMachine,
} from "../membership/workload-entries.ts";
import type { Workload } from "../membership/workloads.ts";
import { formatLabels, selects } from "../objects/selectors.ts";
import { isWildcard } from "../traffic/hosts.ts";
import type { ServiceEntry } from "./definitions.ts";

/** What `endpointsOf` reads. */
export const endpointReads = [captured, workloadEntriesOfNamespace] as const;
type View = MeshView<(typeof endpointReads)[number]>;

/** What is behind a port of a ServiceEntry. */
export interface EntryEndpoints {
  /** The pods, and the machines with a proxy, with the number of their port. */
  readonly pods: readonly { readonly workload: Workload; readonly port: number }[];
  /** Whether there are endpoints beside them, of which nothing in the mesh decides about requests. */
  readonly hasOthers: boolean;
  /** Why there are none, or why they are not known; undefined: there are some. */
  readonly missing: string | undefined;
  /** Whether more may be there than is known. */
  readonly isUnknown: boolean;
}

/** How a client finds them. */
export interface Finding {
  readonly name: string;
  readonly port: number;
  /** Of the subset; empty: none. */
  readonly labels: Readonly<Record<string, string>>;
  /** A gateway cannot pass requests on to the address that was asked for. */
  readonly isGateway: boolean;
  /** Whether the client is a proxy, to which a host name is an address for ServiceEntries with DNS alone (isOnlyForDns). */
  readonly isProxy: boolean;
}

type WorkloadEntry = ObjectOf<"WorkloadEntry">;
type Port = ServiceEntry["spec"]["ports"][number];
const dns: ReadonlySet<string> = new Set(["DNS", "DNS_ROUND_ROBIN"]);
const dynamic: ReadonlySet<string> = new Set(["http", "http2", "grpc", "tls"]);

/**
 * The endpoints of a ServiceEntry, as clients get them: what the client asked for (NONE), what is selected or listed, or what DNS
 * has for the host (Istio pilot/pkg/serviceregistry/serviceentry/conversion.go convertServiceEntryToInstances,
 * convertWorkloadInstanceToServiceInstance; controller.go services; pilot/pkg/networking/core/cluster_builder.go buildCluster).
 */
export function endpointsOf(entry: ServiceEntry, namespace: Namespace, of: Finding, mesh: View): EntryEndpoints {
  const { workloadSelector, ports } = entry.spec;
  const at = ports.find(({ number }) => number === of.port);
  if (at === undefined) return nothing(`${idOf(entry)} has no port ${of.port}`);
  if (workloadSelector !== undefined) return selected(entry, namespace, { ...of, at }, mesh);
  const resolution = entry.spec.resolution || "NONE";
  if (resolution === "NONE" && !of.isGateway) return outside;
  if (resolution === "DYNAMIC_DNS") return throughDns(of.name, at);
  return entry.spec.endpoints.length > 0 ? listed(entry, { ...of, at }) : ofHost(entry, resolution, of);
}

/** DNS has the host itself, without labels, and nothing for a wildcard. */
function ofHost(entry: ServiceEntry, resolution: string, { name, labels }: Finding): EntryEndpoints {
  if (!dns.has(resolution)) return nothing(`${idOf(entry)} has resolution ${resolution} and no endpoints`);
  if (isWildcard(name)) return nothing(`${idOf(entry)} has no endpoint for ${name}`);
  return Object.keys(labels).length > 0 ? nothing(`${idOf(entry)} has no endpoint ${withLabels(labels)}`) : outside;
}

const nothing = (missing: string): EntryEndpoints => ({ pods: [], hasOthers: false, missing, isUnknown: false });
const outside: EntryEndpoints = { pods: [], hasOthers: true, missing: undefined, isUnknown: false };
const withLabels = (labels: Finding["labels"]): string => `with the labels ${formatLabels(labels)}`;

/** Istio pilot/pkg/networking/core/cluster.go buildOutboundClusters. */
function throughDns(name: string, port: Port): EntryEndpoints {
  return isWildcard(name) && dynamic.has((port.protocol ?? "").toLowerCase())
    ? outside
    : nothing(`resolution DYNAMIC_DNS is for wildcards and ports of HTTP, gRPC and TLS`);
}

interface At extends Finding {
  readonly at: Port;
}

/** The port of an endpoint: its own for the name of the port, then that of the ServiceEntry. */
export const portAt = ({ name = "", targetPort, number = 0 }: Port, ports: Readonly<Record<string, number>>): number =>
  ports[name] || targetPort || number;

/** Pods are those that every Service of the namespace could select, and gateways none of them. */
function selected(entry: ServiceEntry, namespace: Namespace, { labels, at, isProxy }: At, mesh: View): EntryEndpoints {
  const selector = { ...entry.spec.workloadSelector?.labels };
  const isSelected = (own: Finding["labels"]) => selects(selector, own) && selects(labels, own);
  const pods = Object.keys(selector).some((key) => labels[key] !== undefined && labels[key] !== selector[key])
    ? []
    : mesh.get(captured, namespace).workloads.selected({ ...selector, ...labels });
  const all = mesh.related(workloadEntriesOfNamespace, namespace);
  mesh.visited(all.length);
  const takesNames = !isProxy || dns.has(entry.spec.resolution || "NONE");
  const machines = all.filter((one) => (takesNames || !isOnlyForDns(one)) && isSelected(labelsOfWorkloadEntry(one)));
  const proxied = machines.filter((one) => hasProxy(machineOf(one)));
  const found = [
    ...pods.map((workload) => ({ workload, port: portAt(at, {}) })),
    ...proxied.map((one) => ({ workload: workloadOfMachine(one, machineOf(one)), port: portAt(at, one.spec.ports) })),
  ];
  const hasOthers = machines.length > proxied.length;
  const isUnknown = !mesh.knowsAll("Workload") || !mesh.knowsAll("WorkloadEntry");
  if (found.length > 0 || hasOthers) return { pods: found, hasOthers, missing: undefined, isUnknown: false };
  const { name } = namespace.metadata;
  const missing = `no workload and no WorkloadEntry in namespace ${name} has the labels ${formatLabels({ ...selector, ...labels })}`;
  return { pods: [], hasOthers: false, missing, isUnknown };
}

const machineOf = (entry: WorkloadEntry): Machine => ({
  kind: "WorkloadEntry",
  namespace: entry.metadata.namespace,
  name: entry.metadata.name,
  address: entry.spec.address ?? "",
  labels: labelsOfWorkloadEntry(entry),
  serviceAccount: entry.spec.serviceAccount,
  ports: entry.spec.ports,
});

function listed(entry: ServiceEntry, { labels, at }: At): EntryEndpoints {
  const { endpoints } = entry.spec;
  const own = endpoints.filter((one) => selects(labels, one.labels));
  if (own.length === 0) return nothing(`${idOf(entry)} has no endpoint ${withLabels(labels)}`);
  const proxied = own.filter(hasProxy);
  const { namespace, name } = entry.metadata;
  const pods = proxied.map((endpoint) => ({
    workload: workloadOfMachine(endpoint, {
      ...{ kind: "Endpoint", namespace, name: `${name} ${endpoint.address}`, address: endpoint.address ?? "" },
      ...{ labels: endpoint.labels, serviceAccount: endpoint.serviceAccount, ports: endpoint.ports },
    }),
    port: portAt(at, endpoint.ports),
  }));
  return { pods, hasOthers: own.length > proxied.length, missing: undefined, isUnknown: false };
}

/**
 * The WorkloadEntries that a Service selects, beside its pods: those with a proxy, with their ports, and whether there are others. A
 * port that a name stands for is that of the entry (Istio pilot/pkg/serviceregistry/kube/controller/controller.go
 * serviceInstanceFromWorkloadInstance).
 */
export function machinesOfService(
  service: ObjectOf<"Service">,
  namespace: Namespace,
  { port, labels, isProxy }: Pick<Finding, "port" | "labels" | "isProxy">,
  mesh: View,
): Pick<EntryEndpoints, "pods" | "hasOthers"> {
  const all = mesh.related(workloadEntriesOfNamespace, namespace);
  mesh.visited(all.length);
  const at = portByNumber(service, port);
  const portOf = (one: WorkloadEntry): number | undefined => portOfService({ port, ...at }, one.spec.ports);
  const selected = all.filter((one) => {
    if (isProxy && isOnlyForDns(one)) return false;
    const own = labelsOfWorkloadEntry(one);
    return selects(service.spec.selector, own) && selects(labels, own) && portOf(one) !== undefined;
  });
  const proxied = selected.filter((one) => hasProxy(machineOf(one)));
  const pods = proxied.map((one) => ({ workload: workloadOfMachine(one, machineOf(one)), port: portOf(one) ?? port }));
  return { pods, hasOthers: selected.length > proxied.length };
}

/**
 * The port of a machine for one of a Service. Its own port of the same name takes precedence over a number (findServiceTargetPort);
 * undefined: the Service asks for a name that the machine has no port for.
 */
export const portOfService = (
  { name = "", port, targetPort }: ServicePort,
  ports: Machine["ports"],
): number | undefined =>
  typeof targetPort === "string" ? ports[targetPort] || undefined : ports[name] || targetPort || port;

type ServicePort = Partial<Pick<ObjectOf<"Service">["spec"]["ports"][number], "name" | "port" | "targetPort">>;

/** Whether clients without any other setting use mTLS for all of these pods. */
export const haveSidecars = (pods: EntryEndpoints["pods"], namespace: Namespace, settings: InjectorSettings): boolean =>
  pods.length > 0 && pods.every(({ workload }) => captureOf(workload, namespace, settings) === "sidecar");
