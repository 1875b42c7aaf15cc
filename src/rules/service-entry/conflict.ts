import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isAlias } from "../../mesh/traffic/aliased-hosts.ts";
import { hasMeshClients } from "../../mesh/membership/clients.ts";
import {
  differenceBetween,
  firstInNamespace,
  isChosenByAge,
  isForAll,
  namespaceOfEntry,
  serviceEntriesBesideServiceEntry,
  servicesBesideServiceEntry,
  serviceVisibleTo,
} from "../../mesh/traffic/definition-choice.ts";
import { oldestFirst, precedence } from "../../mesh/objects/creation-order.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { includesNamespace } from "../../mesh/traffic/export-to.ts";
import { isWildcard } from "../../mesh/traffic/hosts.ts";
import { isTlsProtocol } from "../../mesh/traffic/service-entry-hosts.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, type MeshView } from "../../view/view.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;
type View = MeshView<
  typeof oldestEntries | typeof servicesBesideServiceEntry | typeof namespaceOfEntry | typeof hasMeshClients
>;
type Port = ServiceEntry["spec"]["ports"][number];

/** The oldest is the one that clients use; a few more are looked at, because it may not be exported to the same ones. */
const fewest = 8;

/** The oldest ServiceEntries that define a host. */
const oldestEntries = fact(
  "oldestEntries",
  "key",
  [serviceEntriesBesideServiceEntry],
  (host, mesh): readonly ServiceEntry[] =>
    mesh.under(serviceEntriesBesideServiceEntry, [host]).toSorted(oldestFirst).slice(0, fewest),
);

export const serviceEntryConflict = defineRule({
  id: "service-entry-conflict",
  subject: "ServiceEntry",
  reads: [
    serviceEntriesBesideServiceEntry,
    oldestEntries,
    servicesBesideServiceEntry,
    namespaceOfEntry,
    hasMeshClients,
  ],
  worksWithout: ["Service", "Namespace", "Workload"],
  mode: "warn",
  since: "0.1.0",
  summary:
    "An older ServiceEntry defines the same host in another way for the same clients, or a Service has ports of the host that its clients lose.",
  why: "For each client, istiod makes one service of a host: that of the client's namespace, else one that is exported there by name, else the oldest (Istio pilot/pkg/model/push_context.go servicesExportedToNamespace, pilot/pkg/model/sidecar.go selectServices, appendSidecarServices). The ports, the protocol and the resolution of the younger ServiceEntry then count for some clients only, and clients in the namespaces of both see different ones. In one namespace, istiod adds the ports of the second one to the first only if both have the same resolution, labels, workloadSelector and exportTo (canMergeServices). It adds none to a ServiceEntry from a Service of another namespace.",
  fix: "Define the host once, or limit each ServiceEntry to its own namespace with `exportTo: [.]`.",
  incident: {
    symptoms: ["other-destination", "origination-fails"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients in the namespace of the younger ServiceEntry treat the port in another way than clients elsewhere: TLS is sent as HTTP, or a name is resolved in another way.",
    wayOut: "Delete the younger one, or limit it to its own namespace with `exportTo: [.]`.",
    silentWhen:
      "No client sees both, both define the same, the host is a wildcard, or only one of the two lists namespaces in exportTo: clients there use that one, whichever is older.",
    page: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
  },

  *check(entry, mesh) {
    if (!isServed(entry, mesh.settings)) return;
    for (const [host, i] of new Map(entry.spec.hosts.map((one, at) => [one, at]))) {
      yield;
      if (isWildcard(host)) continue;
      const older = mesh.get(oldestEntries, host).filter((other) => oldestFirst(other, entry) < 0);
      const other = older.find((one) => isChosenByAge(entry, one, mesh.settings));
      if (other !== undefined) yield* problemsOf(host, i, entry, other);
      yield* leftOut(host, i, entry, mesh);
      yield* taken(host, i, entry, mesh);
    }
  },
});

function* problemsOf(host: string, i: number, entry: ServiceEntry, other: ServiceEntry): Iterable<Problem> {
  const about = { related: [other], evidence: [other] };
  const clash = protocolClash(entry, other);
  if (clash !== undefined) {
    const [own, theirs] = clash;
    yield {
      at: ["spec", "hosts", i],
      message: `Port ${own.number} of "${host}" is ${protocolOf(own)} here and ${protocolOf(theirs)} in ${idOf(other)}, which ${precedence(other, entry)}`,
      key: JSON.stringify([host, own.number, idOf(other)]),
      ...about,
    };
    return;
  }
  if (entry.metadata.namespace !== other.metadata.namespace && !isAlike(entry, other))
    yield {
      at: ["spec", "hosts", i],
      message: `Clients outside the namespace of this ServiceEntry use ${idOf(other)} for "${host}", which ${precedence(other, entry)} and differs`,
      key: JSON.stringify([host, idOf(other)]),
      ...about,
    };
}

/**
 * Of the ServiceEntries of one namespace, clients in it use the first one, to which istiod adds ports of the others only if they agree in what is
 * not about ports.
 */
function* leftOut(
  host: string,
  i: number,
  entry: ServiceEntry,
  mesh: MeshView<typeof oldestEntries>,
): Iterable<Problem> {
  const { namespace } = entry.metadata;
  const inOrder = firstInNamespace(mesh.settings);
  const [first] = mesh
    .get(oldestEntries, host)
    .filter(
      (one) => one.metadata.namespace === namespace && inOrder(one, entry) < 0 && isSeenAtHome(one, mesh.settings),
    )
    .sort(inOrder);
  const field = first && isSeenAtHome(entry, mesh.settings) ? differenceBetween(first, entry) : undefined;
  if (first === undefined || field === undefined || protocolClash(entry, first) !== undefined) return;
  const known = new Set(first.spec.ports.map(({ number }) => number));
  const port = entry.spec.ports.find(({ number }) => !known.has(number));
  if (port === undefined) return;
  const named = fieldNames[field] ?? field;
  const comes =
    isForAll(first, mesh.settings) === isForAll(entry, mesh.settings)
      ? precedence(first, entry)
      : "comes first, because it is not exported to all namespaces";
  yield {
    at: ["spec", "hosts", i],
    message: `Port ${port.number} of "${host}" is left out for clients in namespace ${namespace}: ${idOf(first)} ${comes}, and differs in ${named}`,
    key: JSON.stringify([host, port.number, idOf(first), "left out"]),
    fix: `Write all ports of the host into one ServiceEntry, or give both the same ${named}.`,
    related: [first],
    evidence: [first],
  };
}

/**
 * Clients in the namespace of a ServiceEntry use it instead of a Service elsewhere, with its ports alone: istiod merges no ServiceEntry with
 * a Service (Istio pilot/pkg/model/sidecar.go selectServices, appendSidecarServices).
 */
function* taken(host: string, i: number, entry: ServiceEntry, mesh: View): Iterable<Problem> {
  const { namespace } = entry.metadata;
  if (!isSeenAtHome(entry, mesh.settings) || !mayHaveClients(entry, mesh)) return;
  const ports = new Set(entry.spec.ports.map(({ number }) => number));
  for (const service of mesh.under(servicesBesideServiceEntry, [host])) {
    if (service.metadata.namespace === namespace) continue;
    const lost = service.spec.ports.find(({ port, protocol }) => !ports.has(port) && protocol !== "UDP");
    if (
      isAlias(service) ||
      lost === undefined ||
      !includesNamespace(serviceVisibleTo(service, mesh.settings), namespace)
    )
      continue;
    yield {
      at: ["spec", "hosts", i],
      message: `Clients in namespace ${namespace} lose port ${lost.port} of "${host}": they use this ServiceEntry instead of ${idOf(service)}, which has the port`,
      key: JSON.stringify([host, lost.port, idOf(service), "lost"]),
      fix: "Give the ServiceEntry another host, or all ports of the Service that its clients use.",
      related: [service],
      evidence: [service],
    };
  }
}

function mayHaveClients(entry: ServiceEntry, mesh: View): boolean {
  const [namespace] = mesh.related(namespaceOfEntry, entry);
  return namespace === undefined || mesh.get(hasMeshClients, namespace);
}

const isSeenAtHome = (one: ServiceEntry, settings: MeshSettings): boolean =>
  includesNamespace(serviceVisibleTo(one, settings), one.metadata.namespace);
const fieldNames: Readonly<Record<string, string>> = { resolution: "resolution", labels: "labels in its metadata" };

function protocolClash({ spec }: ServiceEntry, other: ServiceEntry): readonly [Port, Port] | undefined {
  const theirs = new Map(other.spec.ports.map((port) => [port.number, port]));
  for (const own of spec.ports) {
    const there = theirs.get(own.number);
    if (there !== undefined && treatedAs(there) !== treatedAs(own)) return [own, there];
  }
  return undefined;
}

const protocolOf = ({ protocol }: Port): string => protocol?.toUpperCase() || "of no protocol";

/** HTTPS and TLS are both routed by the server name (Istio pkg/config/protocol/instance.go IsTLS); without one, proxies detect HTTP. */
const treatedAs = (port: Port): string => (isTlsProtocol(port.protocol) ? "TLS" : protocolOf(port));

/** Whether requests have the same result with either. */
const isAlike = (entry: ServiceEntry, other: ServiceEntry): boolean => contentOf(entry) === contentOf(other);

/** With the defaults of what is not written. */
const contentOf = ({ spec: { addresses, location, resolution, ports, endpoints, workloadSelector } }: ServiceEntry) =>
  JSON.stringify([
    ...[addresses, location || "MESH_EXTERNAL", resolution || "NONE", ports.map(portOf)],
    ...[endpoints, workloadSelector],
  ]);
const portOf = (port: Port) => [port.number, treatedAs(port), port.targetPort || port.number];
