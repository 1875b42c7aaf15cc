import { byId } from "../../kube/identity.ts";
import type { Mesh } from "../../view/view.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { type Service, workloadsOfService } from "../membership/services.ts";
import { type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { selects } from "../objects/selectors.ts";
import { type Host, hostFor, namespacesOfDefinition, type ServiceEntry } from "../traffic/host-definition.ts";
import { standsForPods } from "./destinations.ts";
import { type TargetPorts, portsOf, portsOfEntry } from "../membership/target-ports.ts";

/** The backend of a host: its namespace, and its pods if they are known. */
export interface Backend extends TargetPorts {
  readonly namespace: Namespace;
  /** The selector of the pods; undefined: there is none. */
  readonly object: Service | ServiceEntry | undefined;
  /** Sorted by name; undefined: there is no selector, or no workloads are known. */
  readonly workloads: readonly Workload[] | undefined;
}

/**
 * The backends of a host for clients in a namespace. What is defined there takes precedence, then the Service, whose
 * endpoints ServiceEntries of its namespace extend. There may be several ServiceEntries that select pods of their own
 * namespaces; empty: there is nothing.
 */
export function backendsOf(known: Host, client: string, mesh: Mesh): readonly Backend[] {
  const host = hostFor(client, known, mesh.settings);
  const { service, entries } = host;
  const isTaken = known.service !== undefined && service === undefined;
  const namespaces = isTaken
    ? new Set(entries.map(({ metadata }) => metadata.namespace))
    : namespacesOfDefinition(host, mesh.settings);
  const [name] = namespaces;
  if (name === undefined) return [];
  const namespace = namespaceIn(mesh, name);
  const own = entries.filter((one) => namespaces.has(one.metadata.namespace) && standsForPods(one, mesh.settings));
  const behind = own.map((entry) => behindEntry(entry, mesh));
  if (service !== undefined) {
    const workloads = workloadsOfService(service, namespace, mesh);
    return [{ namespace, object: service, workloads: shown(workloads, mesh), ...portsOf(service) }, ...behind];
  }
  if (behind.length > 0) return behind;
  return [{ namespace, object: undefined, workloads: undefined, ports: [], workloadPort: () => undefined }];
}

function behindEntry(entry: ServiceEntry, mesh: Mesh): Backend {
  const namespace = namespaceIn(mesh, entry.metadata.namespace);
  const labels = entry.spec.workloadSelector?.labels ?? {};
  const workloads = mesh.related(workloadsOfNamespace, namespace).filter(({ pod }) => selects(labels, pod.labels));
  return { namespace, object: entry, workloads: shown(workloads, mesh), ...portsOfEntry(entry) };
}

const shown = (workloads: readonly Workload[], mesh: Mesh): readonly Workload[] | undefined =>
  mesh.knows("Workload") ? workloads.toSorted(byId) : undefined;
