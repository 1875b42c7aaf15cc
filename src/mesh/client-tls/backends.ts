import { byId } from "../../kube/identity.ts";
import type { Mesh } from "../../view/view.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { type Service, workloadsOfService } from "../membership/services.ts";
import { type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { selects } from "../objects/selectors.ts";
import { type Host, namespacesOfDefinition, type ServiceEntry } from "../traffic/host-definition.ts";
import { type Ports, portsOf, portsOfEntry, standsForPods } from "./destinations.ts";

/** What serves a host: the namespace that answers for it, and the pods where something says which they are. */
export interface Backend extends Ports {
  readonly namespace: Namespace;
  /** What selects the pods; undefined: nothing does. */
  readonly object: Service | ServiceEntry | undefined;
  /** By name; undefined: nothing says which they are, or nobody has shown any. */
  readonly workloads: readonly Workload[] | undefined;
}

/** The Service of a host goes before a ServiceEntry that stands for pods of its own namespace; undefined: nothing serves it. */
export function backendOf(host: Host, mesh: Mesh): Backend | undefined {
  const { service, entries } = host;
  const namespaces = namespacesOfDefinition(host, mesh.settings);
  const [name] = namespaces;
  if (name === undefined) return undefined;
  const entry = entries.find((one) => namespaces.has(one.metadata.namespace) && standsForPods(one, mesh.settings));
  if (service === undefined && entry !== undefined) return behindEntry(entry, mesh);
  const namespace = namespaceIn(mesh, name);
  if (service === undefined)
    return { namespace, object: undefined, workloads: undefined, ports: [], workloadPort: () => undefined };
  const workloads = workloadsOfService(service, namespace, mesh);
  return { namespace, object: service, workloads: shown(workloads, mesh), ...portsOf(service) };
}

function behindEntry(entry: ServiceEntry, mesh: Mesh): Backend {
  const namespace = namespaceIn(mesh, entry.metadata.namespace);
  const labels = entry.spec.workloadSelector?.labels ?? {};
  const workloads = mesh.related(workloadsOfNamespace, namespace).filter(({ pod }) => selects(labels, pod.labels));
  return { namespace, object: entry, workloads: shown(workloads, mesh), ...portsOfEntry(entry) };
}

const shown = (workloads: readonly Workload[], mesh: Mesh): readonly Workload[] | undefined =>
  mesh.knows("Workload") ? workloads.toSorted(byId) : undefined;
