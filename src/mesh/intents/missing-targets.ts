import type { Path } from "../../kube/read.ts";
import { globs } from "../../text/globs.ts";
import { nearest } from "../../text/nearest.ts";
import { type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { entriesFor, portNumbersOf } from "../requests/definitions.ts";
import {
  clusterIntentsOfNamespace,
  type Intent,
  isAbout,
  isNameOfHost,
  isServiceName,
  namespaceOfIntent,
  namespaceOfServiceHost,
} from "./intents.ts";
import { entriesOfIntent, portsOfService, serviceIn, targetReads, workloadsByLabel } from "./targets.ts";

/** An intent of the root namespace that is about other namespaces, and all namespaces. */
const namespacesOfClusterIntent = relation(
  "namespacesOfClusterIntent",
  clusterIntentsOfNamespace.to,
  clusterIntentsOfNamespace.from,
);

/** What `missingTargets` reads. */
export const missingReads = [...targetReads, namespacesOfClusterIntent] as const;
type View = MeshView<(typeof missingReads)[number]>;

/** Something in the target of an intent that the mesh does not have. */
export interface MissingTarget {
  readonly at: Path;
  readonly message: string;
  /** The missing Service; undefined: the Service is there. */
  readonly service: { readonly namespace: string; readonly name: string } | undefined;
}

/** What the target of an intent names and the mesh does not have, as far as it is known. */
export function* missingTargets(intent: Intent, mesh: View): Generator<MissingTarget, undefined> {
  const { host = "", workloads: labels = {} } = intent.spec.to;
  const [namespace] = mesh.related(namespaceOfIntent, intent);
  if (namespace === undefined) {
    yield* missingNamespaces(intent, mesh);
    return;
  }
  const written = host.toLowerCase();
  const isOutside = isNameOfHost(written) && namespaceOfServiceHost(written, mesh.settings) === undefined;
  if (isOutside) yield* missingHost(written, { intent, namespace }, mesh);
  yield* missingService(intent, namespace, mesh);
  if (Object.keys(labels).length > 0 && mesh.knowsAll("Workload")) yield* missingWorkloads(intent, namespace, mesh);
}

function* missingService(
  { spec: { to } }: Intent,
  namespace: Namespace,
  mesh: View,
): Generator<MissingTarget, undefined> {
  if (to.service === undefined || !mesh.knows("Service")) return;
  const service = serviceIn(namespace, to.service, mesh);
  if (service !== undefined) yield* missingPorts(service, to.ports, mesh);
  else if (isServiceName(to.service)) yield absentService(namespace, to.service, mesh);
}

/** Labels of nothing, and ports that the containers do not have, where these list theirs. */
function* missingWorkloads({ spec }: Intent, namespace: Namespace, mesh: View): Generator<MissingTarget, undefined> {
  const { workloads: labels = {}, ports } = spec.to;
  const selected = mesh.get(workloadsByLabel, namespace).selected(labels);
  mesh.visited(selected.length);
  if (selected.length === 0)
    yield {
      at: ["spec", "to", "workloads"],
      message: `No workload in ${namespace.metadata.name} has the labels ${formatLabels(labels)}`,
      service: undefined,
    };
  if (selected.some(({ pod }) => pod.ports.length === 0)) return;
  const listed = new Set(selected.flatMap(({ pod }) => pod.ports.flatMap(({ number }) => number ?? [])));
  for (const [i, port] of ports.entries())
    if (port !== undefined && listed.size > 0 && !listed.has(port))
      yield {
        at: ["spec", "to", "ports", i],
        message: `No container of the workloads with the labels ${formatLabels(labels)} lists port ${port}; they list ${[...listed].join(", ")}`,
        service: undefined,
      };
}

const formatLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}: ${value}`)
    .join(", ");

/** Names and labels of an intent of the root namespace that no namespace has. */
function* missingNamespaces(intent: Intent, mesh: View): Generator<MissingTarget, undefined> {
  const { namespaces } = intent.spec.to;
  if (namespaces === undefined || !mesh.knowsAll("Namespace")) return;
  const all = mesh.related(namespacesOfClusterIntent, intent);
  // Only an intent of the root namespace is about other namespaces.
  if (all.length === 0) return;
  mesh.visited(all.length);
  const there = all.map(({ metadata }) => metadata.name);
  const lost = namespaces.names.filter((name) => !there.some((one) => globs([name]).matches(one)));
  for (const name of lost) {
    const meant = nearest(name, there);
    yield {
      at: ["spec", "to", "namespaces", "names", namespaces.names.indexOf(name)],
      message: `There is no namespace "${name}"${meant === undefined ? "" : `: did you mean "${meant}"?`}`,
      service: undefined,
    };
  }
  const isNothing = Object.keys(namespaces.labels).length > 0 && all.every((one) => isAbout(intent, one) === false);
  if (lost.length === 0 && isNothing)
    yield {
      at: ["spec", "to", "namespaces", "labels"],
      message: `No namespace has the labels ${formatLabels(namespaces.labels)}${namespaces.names.length === 0 ? "" : ` and one of the names ${namespaces.names.join(", ")}`}`,
      service: undefined,
    };
}

function absentService(namespace: Namespace, name: string, mesh: View): MissingTarget {
  const names = mesh.related(servicesOfNamespace, namespace).map(({ metadata }) => metadata.name);
  const meant = nearest(name, names);
  const hint = meant === undefined ? "" : `: did you mean "${meant}"?`;
  const { name: home } = namespace.metadata;
  return {
    at: ["spec", "to", "service"],
    message: `There is no Service "${name}" in ${home}${hint}`,
    service: { namespace: home, name },
  };
}

/** A host that nothing defines is outside the mesh, where only a port is missing. */
function* missingHost(
  host: string,
  { intent, namespace }: { readonly intent: Intent; readonly namespace: Namespace },
  mesh: View,
): Generator<MissingTarget, undefined> {
  const { ports } = intent.spec.to;
  const entries = entriesFor(host, mesh.related(entriesOfIntent, intent));
  if (!mesh.knowsAll("ServiceEntry")) return;
  if (entries.length === 0 && ports.length === 0)
    yield {
      at: ["spec", "to"],
      message: `No ServiceEntry defines host ${host}, so its ports are not known: ${
        serviceIn(namespace, host, mesh) === undefined
          ? "give them in ports"
          : `Service ${host} of this namespace is named by service, and not by host`
      }`,
      service: undefined,
    };
  const there = new Set(entries.flatMap(portNumbersOf));
  for (const [i, port] of ports.entries())
    if (entries.length > 0 && port !== undefined && !there.has(port))
      yield {
        at: ["spec", "to", "ports", i],
        message: `No ServiceEntry for host ${host} has port ${port}; their ports are ${[...there].join(", ")}`,
        service: undefined,
      };
}

/** An alias leads to any port. */
function* missingPorts(
  service: Service,
  ports: Intent["spec"]["to"]["ports"],
  mesh: View,
): Generator<MissingTarget, undefined> {
  const there = portsOfService(service, mesh);
  for (const [i, port] of ports.entries())
    if (port !== undefined && !there.includes(port))
      yield {
        at: ["spec", "to", "ports", i],
        message: `Service ${service.metadata.name} has no port ${port}; its ports are ${there.join(", ") || "not known"}`,
        service: undefined,
      };
}
