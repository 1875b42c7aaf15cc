import { fact, index, relation } from "../../view/view.ts";
import { portsOf, portsOfEntry } from "../membership/target-ports.ts";
import { rootOfNamespace } from "../membership/namespaces.ts";
import { type DeclaredProtocol, parsedProtocol } from "../membership/service-protocol.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { type Machine, machineOfWorkload } from "../membership/workload-entries.ts";
import type { Workload } from "../membership/workloads.ts";
import { olderThan } from "../objects/creation-order.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { SelectorGroups } from "../objects/selector-groups.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { isBound } from "../traffic/bound-ports.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { type Sidecar, sidecarFor, sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";
import { portOfDefinition, type ServiceEntry } from "./definitions.ts";
import { portAt, portOfService } from "./entry-endpoints.ts";

/** How a port is read, and what says so; undefined: nothing does. */
export interface Decided {
  readonly protocol: DeclaredProtocol;
  readonly by: Definition | Sidecar | undefined;
}

/**
 * How the sidecars of a namespace read the connections to a port of their pods, whichever Service these were sent to. The
 * oldest Service that leads to the port decides, and of those of one second the first by its host, unless a Sidecar lists the listeners
 * itself (Istio pilot/pkg/networking/core/listener_inbound.go buildInboundChainConfigs, getFilterChainsByServicePort,
 * pilot/pkg/model/context.go SetServiceTargets). ServiceEntries lead to
 * machines by their labels, or by the addresses of the endpoints that they list
 * (pilot/pkg/serviceregistry/serviceentry/controller.go GetProxyServiceTargets).
 */
export class ServerProtocols {
  readonly #services: SelectorGroups<Definition>;
  readonly #byAddress = new Map<string, Listed[]>();
  readonly #own: readonly Sidecar[];
  readonly #ofRoot: readonly Sidecar[];
  readonly #sorted = new Map<unknown, readonly Definition[]>();
  readonly #domain: string;

  constructor(
    services: readonly Definition[],
    { own, ofRoot }: { readonly own: readonly Sidecar[]; readonly ofRoot: readonly Sidecar[] },
    domain: string,
  ) {
    this.#domain = domain;
    this.#services = new SelectorGroups(
      services.flatMap((service) => {
        const selector = selectorOf(service);
        return Object.keys(selector).length === 0 ? [] : [[selector, service] as const];
      }),
    );
    for (const service of services) {
      if (service.kind !== "ServiceEntry" || service.spec.workloadSelector !== undefined) continue;
      for (const { address = "", ports } of service.spec.endpoints) {
        const known = this.#byAddress.get(address);
        if (known === undefined) this.#byAddress.set(address, [{ service, ports }]);
        else known.push({ service, ports });
      }
    }
    this.#own = own;
    this.#ofRoot = ofRoot;
  }

  /** `port` is that of the pod. A port that nothing declares is read as what its connections turn out to be. */
  at(workload: Workload, port: number): DeclaredProtocol {
    return this.decidedAt(workload, port).protocol;
  }

  /** The same, with the object that decides. */
  decidedAt(workload: Workload, port: number): Decided {
    const sidecar = this.#sidecarOf(workload);
    if (sidecar !== undefined && sidecar.spec.ingress.length > 0) {
      const listener = sidecar.spec.ingress.find((one) => one.port?.number === port);
      return listener === undefined
        ? undeclared
        : { protocol: parsedProtocol(listener.port?.protocol ?? ""), by: sidecar };
    }
    const machine = machineOfWorkload(workload);
    const services = this.#servicesOf(workload);
    if (machine === undefined) return protocolAmong(services, (service) => portOfPod(service, workload, port));
    const listed = this.#byAddress.get(machine.address) ?? [];
    const leading = [...services.map((service) => ({ service, ports: machine.ports })), ...listed];
    const inOrder = this.#oldestFirst;
    leading.sort((a, b) => inOrder(a.service, b.service));
    for (const { service, ports } of leading) {
      const found = protocolAmong([service], () => portOfMachine(service, ports, port));
      if (found.by !== undefined) return found;
    }
    return undeclared;
  }

  /** Whether the proxy listens at the port of a pod itself. */
  isBound(workload: Workload, port: number): boolean {
    return isBound(port, workload, this.#listenersOf(workload));
  }

  #listenersOf(workload: Workload): Sidecar["spec"]["ingress"] {
    return this.#sidecarOf(workload)?.spec.ingress ?? [];
  }

  #sidecarOf({ pod }: Workload): Sidecar | undefined {
    if (this.#own.length === 0 && this.#ofRoot.length === 0) return undefined;
    return sidecarFor(this.#own, this.#ofRoot, pod.labels);
  }

  readonly #oldestFirst = (a: Definition, b: Definition): number =>
    olderThan(a, b) || compared(firstHostOf(a, this.#domain), firstHostOf(b, this.#domain));

  /** The oldest first. Pods with the same labels share the list. */
  #servicesOf({ pod }: Workload): readonly Definition[] {
    const groups = this.#services.selecting(pod.labels);
    let found = this.#sorted.get(groups);
    if (found === undefined)
      this.#sorted.set(groups, (found = groups.flatMap(({ members }) => members).sort(this.#oldestFirst)));
    return found;
  }
}

/** A ServiceEntry that lists an address, and the own ports of that endpoint. */
interface Listed {
  readonly service: ServiceEntry;
  readonly ports: Machine["ports"];
}

/** What the first of these that leads to a port declares. `portOf`: the port of the service. */
function protocolAmong(services: readonly Definition[], portOf: (service: Definition) => number | undefined): Decided {
  for (const service of services) {
    const found = portOf(service);
    const declared = found === undefined ? undefined : portOfDefinition(service, found);
    if (declared !== undefined) return { protocol: declared.protocol, by: service };
  }
  return undeclared;
}
const undeclared: Decided = Object.freeze({ protocol: "undeclared", by: undefined });

/** Each host of a ServiceEntry is a service of its own. */
const firstHostOf = (one: Definition, domain: string): string =>
  one.kind === "Service" ? hostOfService(one, domain) : one.spec.hosts.reduce((a, b) => (a < b ? a : b), "~");
const compared = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function portOfPod(service: Definition, workload: Workload, port: number): number | undefined {
  const { ports, workloadPort } = service.kind === "Service" ? portsOf(service) : portsOfEntry(service);
  return ports.find((one) => workloadPort(one, workload) === port);
}

function portOfMachine(service: Definition, own: Machine["ports"], port: number): number | undefined {
  return service.kind === "Service"
    ? service.spec.ports.find((one) => one.protocol !== "UDP" && portOfService(one, own) === port)?.port
    : service.spec.ports.find((one) => portAt(one, own) === port)?.number;
}

/** The labels of the pods that a Service or a ServiceEntry leads to; empty: it selects none. */
function selectorOf({ kind, spec }: Definition): Readonly<Record<string, string>> {
  if (kind === "ServiceEntry") return spec.workloadSelector?.labels ?? {};
  return spec.type === "ExternalName" ? {} : spec.selector;
}

/** A namespace and its ServiceEntries that lead to workloads: by a selector, or by addresses. */
export const leadingEntriesOfNamespace = relation(
  "leadingEntriesOfNamespace",
  namespaceByName,
  index("ServiceEntry", (entry, settings) =>
    (entry.spec.workloadSelector !== undefined || entry.spec.endpoints.length > 0) && isServed(entry, settings)
      ? [entry.metadata.namespace]
      : [],
  ),
);

/** The protocols by which the sidecars of a namespace read connections. */
export const serverProtocols = fact(
  "serverProtocols",
  "Namespace",
  [servicesOfNamespace, leadingEntriesOfNamespace, sidecarsOfNamespace, rootOfNamespace],
  (namespace, mesh) => {
    const services = [
      ...mesh.related(servicesOfNamespace, namespace),
      ...mesh.related(leadingEntriesOfNamespace, namespace),
    ];
    mesh.visited(services.length);
    const [root] = mesh.related(rootOfNamespace, namespace);
    return new ServerProtocols(
      services,
      {
        own: mesh.related(sidecarsOfNamespace, namespace),
        ofRoot: root === undefined ? [] : mesh.related(sidecarsOfNamespace, root),
      },
      mesh.settings.domain,
    );
  },
);
