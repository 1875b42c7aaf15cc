import { fact, type MeshView } from "../../view/view.ts";
import { portsOf } from "../client-tls/destinations.ts";
import { rootOfNamespace } from "../membership/namespaces.ts";
import { type DeclaredProtocol, declaredProtocol, parsedProtocol } from "../membership/service-protocol.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import type { Workload } from "../membership/workloads.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { SelectorGroups } from "../objects/selector-groups.ts";
import { type Sidecar, sidecarFor, sidecarsOfNamespace } from "../traffic/sidecar-egress.ts";

/**
 * How the sidecars of a namespace read the connections to a port of their pods, whichever Service these were sent to. The
 * oldest Service that leads to the port decides, unless a Sidecar lists the listeners itself (Istio
 * pilot/pkg/networking/core/listener_inbound.go buildInboundChainConfigs, getFilterChainsByServicePort).
 */
export class ServerProtocols {
  readonly #services: SelectorGroups<Service>;
  readonly #own: readonly Sidecar[];
  readonly #ofRoot: readonly Sidecar[];
  readonly #sorted = new Map<unknown, readonly Service[]>();

  constructor(services: readonly Service[], own: readonly Sidecar[], ofRoot: readonly Sidecar[]) {
    this.#services = new SelectorGroups(
      services.flatMap((service) => {
        const { selector, type } = service.spec;
        const selectsNone = type === "ExternalName" || Object.keys(selector).length === 0;
        return selectsNone ? [] : [[selector, service] as const];
      }),
    );
    this.#own = own;
    this.#ofRoot = ofRoot;
  }

  /** `port` is that of the pod. A port that nothing declares is read as what its connections turn out to be. */
  at(workload: Workload, port: number): DeclaredProtocol {
    const listeners = this.#listenersOf(workload);
    if (listeners.length > 0) {
      return parsedProtocol(listeners.find((one) => one.port?.number === port)?.port?.protocol ?? "");
    }
    for (const service of this.#servicesOf(workload)) {
      const ports = portsOf(service);
      const found = service.spec.ports.find(
        (one) => one.port !== undefined && ports.workloadPort(one.port, workload) === port,
      );
      if (found !== undefined) return declaredProtocol(found);
    }
    return "undeclared";
  }

  #listenersOf({ pod }: Workload): Sidecar["spec"]["ingress"] {
    if (this.#own.length === 0 && this.#ofRoot.length === 0) return [];
    return sidecarFor(this.#own, this.#ofRoot, pod.labels)?.spec.ingress ?? [];
  }

  /** The oldest first. Pods with the same labels share the list. */
  #servicesOf({ pod }: Workload): readonly Service[] {
    const groups = this.#services.selecting(pod.labels);
    let found = this.#sorted.get(groups);
    if (found === undefined)
      this.#sorted.set(groups, (found = groups.flatMap(({ members }) => members).sort(oldestFirst)));
    return found;
  }
}

/** The protocols by which the sidecars of a namespace read connections. */
export const serverProtocols = fact(
  "serverProtocols",
  "Namespace",
  [servicesOfNamespace, sidecarsOfNamespace, rootOfNamespace],
  (namespace, mesh: MeshView<typeof servicesOfNamespace | typeof sidecarsOfNamespace | typeof rootOfNamespace>) => {
    const services = mesh.related(servicesOfNamespace, namespace);
    mesh.visited(services.length);
    const [root] = mesh.related(rootOfNamespace, namespace);
    return new ServerProtocols(
      services,
      mesh.related(sidecarsOfNamespace, namespace),
      root === undefined ? [] : mesh.related(sidecarsOfNamespace, root),
    );
  },
);
