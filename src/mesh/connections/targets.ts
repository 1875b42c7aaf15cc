import { byId } from "../../kube/identity.ts";
import type { Mesh } from "../../view/view.ts";
import { listens } from "../authorization/enforcement.ts";
import { namespaceIn } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { isProxy, tcpPortsOf, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { Labelled } from "../objects/labelled.ts";
import { isServed } from "../objects/revision.ts";
import { portNumbersOf, type ServiceEntry } from "../requests/definitions.ts";
import { namespaceOfEntry } from "../traffic/definition-choice.ts";
import type { Target } from "../requests/question.ts";
import { hostIn } from "../traffic/host-definition.ts";

/** What connections are asked about: everything in the mesh, in a namespace, or one Service. */
export type Scope =
  | { readonly kind: "mesh" }
  | { readonly kind: "namespace"; readonly name: string }
  | { readonly kind: "service"; readonly namespace: string; readonly name: string }
  /** A host that a ServiceEntry defines. */
  | { readonly kind: "host"; readonly host: string };

/** A port that requests can be sent to: of a Service, of a host of a ServiceEntry, or of a workload that no Service selects. */
export interface ReachablePort {
  /** `Service`, `ServiceEntry`, or the kind of the workload. `name`: of a ServiceEntry, the host. */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly target: Target;
}

export interface ReachablePorts {
  /** Sorted by namespace, name and port. */
  readonly ports: readonly ReachablePort[];
  /** Workloads without a Service that declare no port, so that nothing says where they listen. */
  readonly withoutPort: readonly Workload[];
}

/** The ports in the scope. Gateways are no targets here: what they let in depends on their Gateway objects. */
export function portsIn(scope: Scope, mesh: Mesh): ReachablePorts {
  if (scope.kind === "host") return { ports: portsOfHost(scope.host, mesh), withoutPort: [] };
  const names =
    scope.kind === "mesh" ? namespacesWithTargets(mesh) : [scope.kind === "namespace" ? scope.name : scope.namespace];
  const ports: ReachablePort[] = [];
  const withoutPort: Workload[] = [];
  for (const name of names) {
    const found = inNamespace(name, mesh);
    ports.push(...found.ports);
    withoutPort.push(...found.withoutPort);
  }
  if (scope.kind === "mesh") return { ports: eachHostOnce(ports), withoutPort };
  if (scope.kind !== "service") return { ports, withoutPort };
  return { ports: ports.filter((one) => one.kind === "Service" && one.name === scope.name), withoutPort: [] };
}

/** Several namespaces can define a host, which is one target for all clients. */
function eachHostOnce(ports: readonly ReachablePort[]): readonly ReachablePort[] {
  const hosts = new Set<string>();
  return ports.filter(({ kind, name, port }) => {
    if (kind !== "ServiceEntry") return true;
    const key = `${name}:${port}`;
    return !hosts.has(key) && hosts.add(key);
  });
}

function namespacesWithTargets(mesh: Mesh): readonly string[] {
  const names = new Set<string>();
  for (const kind of ["Service", "ServiceEntry", "Workload"] as const)
    for (const { metadata } of mesh.all(kind)) names.add(metadata.namespace);
  return [...names].sort();
}

function inNamespace(name: string, mesh: Mesh): ReachablePorts {
  const namespace = namespaceIn(mesh, name);
  const all = mesh.related(workloadsOfNamespace, namespace);
  const byLabel = new Labelled(all, ({ pod }) => pod.labels);
  const behind = new Map(
    mesh
      .related(servicesOfNamespace, namespace)
      .toSorted(byId)
      .map((service) => [service, selectedBy(service, byLabel)]),
  );
  const selected = new Set([...behind.values()].flat());
  const alone = all.filter((one) => !isProxy(one) && listens(one) && !selected.has(one)).toSorted(byId);
  const ofServices = [...behind].flatMap(([service, workloads]) =>
    isOfProxies(workloads)
      ? []
      : portNumbers(service).map(
          (port): ReachablePort => ({
            ...{ kind: "Service", namespace: name, name: service.metadata.name, port },
            target: { kind: "service", service, namespace, port },
          }),
        ),
  );
  const ofWorkloads = alone.flatMap((workload) =>
    sorted(tcpPortsOf(workload).map(({ number }) => number)).map(
      (port): ReachablePort => ({
        ...{ kind: workload.originKind, namespace: name, name: workload.metadata.name, port },
        target: { kind: "workloads", workloads: [workload], namespace, port },
      }),
    ),
  );
  const ofEntries = entriesIn(name, mesh).flatMap(({ spec }) => spec.hosts);
  const ofHosts = [...new Set(ofEntries)].sort().flatMap((host) => portsOfHost(host, mesh, name));
  return {
    ports: [...ofServices, ...ofHosts, ...ofWorkloads],
    withoutPort: alone.filter((workload) => tcpPortsOf(workload).length === 0),
  };
}

const entriesIn = (namespace: string, mesh: Mesh): readonly ServiceEntry[] =>
  (mesh.lookup(namespaceOfEntry.from, [namespace]) as readonly ServiceEntry[]).filter((one) =>
    isServed(one, mesh.settings),
  );

/** The ports of a host, of the ServiceEntries of a namespace or of all. Those with the host of a Service are ports of the Service. */
function portsOfHost(host: string, mesh: Mesh, namespace?: string): readonly ReachablePort[] {
  const found = hostIn(mesh, host);
  if (found.service !== undefined) return [];
  const own = found.entries.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace);
  const home = own[0]?.metadata.namespace;
  if (home === undefined) return [];
  return sorted(own.flatMap(portNumbersOf)).map((port) => ({
    ...{ kind: "ServiceEntry", namespace: home, name: host, port },
    target: { kind: "host", host, entries: found.entries, namespace: namespaceIn(mesh, home), port },
  }));
}

/** As selectsWorkload. */
const selectedBy = ({ spec }: Service, workloads: Labelled<Workload>): readonly Workload[] =>
  isAlias(spec) || Object.keys(spec.selector).length === 0 ? [] : workloads.selected(spec.selector);

/** ExternalName stands for no pods. */
const isAlias = ({ type }: Service["spec"]): boolean => type === "ExternalName";

const portNumbers = ({ spec }: Service): readonly number[] =>
  isAlias(spec) ? [] : sorted(spec.ports.flatMap(({ port }) => port ?? []));
const sorted = (ports: readonly number[]): readonly number[] => [...new Set(ports)].sort((a, b) => a - b);

/** Whether a Service leads to gateways or waypoints only. */
const isOfProxies = (workloads: readonly Workload[]): boolean => workloads.length > 0 && workloads.every(isProxy);
