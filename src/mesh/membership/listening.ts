import { fact, type MeshView } from "../../view/view.ts";
import { type SelectorGroup, SelectorGroups } from "../objects/selector-groups.ts";
import { captured } from "./captured.ts";
import type { Namespace } from "./namespaces.ts";
import { type Service, servicesOfNamespace } from "./services.ts";
import type { Workload } from "./workloads.ts";

/**
 * The ports at which workloads are known to listen: ports that their containers declare, which is optional, and ports
 * that Services target. A targetPort that is a name is the name of a declared port.
 */
export interface Known {
  readonly ports: ReadonlySet<number>;
  /** For some workload no port is known, so it can listen at any. */
  readonly isOpen: boolean;
  /** The Services that select the workloads. */
  readonly services: readonly Service[];
  /** The end of the message for an unknown port: `: it is a port of Service ...`. */
  readonly hints: ReadonlyMap<number, string>;
}

/** The known ports of workloads in one namespace. Policies with the same selector share a result. */
class Listening {
  readonly #order: ReadonlyMap<Service, number>;
  readonly #groups: SelectorGroups<Service>;
  readonly #targets = new Map<SelectorGroup<Service>, ReadonlySet<number>>();
  readonly #known = new Map<readonly Workload[], Known>();

  constructor(services: readonly Service[]) {
    this.#order = new Map(services.map((service, i) => [service, i]));
    const selecting = services.filter(
      ({ spec }) => spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0,
    );
    this.#groups = new SelectorGroups(selecting.map((service) => [service.spec.selector, service] as const));
  }

  of(workloads: readonly Workload[]): Known {
    let known = this.#known.get(workloads);
    if (known === undefined) this.#known.set(workloads, (known = this.#look(workloads)));
    return known;
  }

  #look(workloads: readonly Workload[]): Known {
    const ports = new Set<number>();
    const fronting = new Set<SelectorGroup<Service>>();
    let isOpen = false;
    for (const { pod } of workloads) {
      const groups = this.#groups.selecting(pod.labels);
      for (const group of groups) fronting.add(group);
      for (const { number } of pod.ports) ports.add(number);
      isOpen ||= pod.ports.length === 0 && groups.every((group) => this.#targetsOf(group).size === 0);
    }
    for (const group of fronting) for (const port of this.#targetsOf(group)) ports.add(port);
    const place = (service: Service) => this.#order.get(service) ?? 0;
    const services = [...fronting].flatMap(({ members }) => members).sort((a, b) => place(a) - place(b));
    return { ports, isOpen, services, hints: hintsOf(services) };
  }

  #targetsOf(group: SelectorGroup<Service>): ReadonlySet<number> {
    let targets = this.#targets.get(group);
    if (targets === undefined) {
      const all = group.members.flatMap(({ spec }) => spec.ports).map(({ port, targetPort }) => targetPort || port);
      targets = new Set(all.filter((port) => typeof port === "number"));
      this.#targets.set(group, targets);
    }
    return targets;
  }
}

/** For each port the first Service with this port and another targetPort. */
function hintsOf(services: readonly Service[]): ReadonlyMap<number, string> {
  const hints = new Map<number, string>();
  for (const { metadata, spec } of services) {
    const seen = new Set<number>();
    for (const { port, targetPort } of spec.ports) {
      if (port === undefined || seen.has(port)) continue;
      seen.add(port);
      if (targetPort !== undefined && targetPort !== port && !hints.has(port))
        hints.set(port, `: it is a port of Service ${metadata.name}, whose targetPort is ${targetPort}`);
    }
  }
  return hints;
}

/** The known ports of the workloads of a namespace. */
export const listening = fact(
  "listening",
  "Namespace",
  [servicesOfNamespace],
  (namespace, mesh) => new Listening(mesh.related(servicesOfNamespace, namespace)),
);

/** Workloads of one selector, with what is known of their ports. */
export interface KnownPorts extends Known {
  readonly workloads: readonly Workload[];
}

/**
 * The ports of the workloads of a namespace that a policy selects, without proxies; undefined: it selects none, or one of
 * them may listen anywhere, because containers are not required to declare their ports.
 */
export function portsOfSelected(
  selector: Readonly<Record<string, string>>,
  namespace: Namespace,
  mesh: MeshView<typeof captured | typeof listening>,
): KnownPorts | undefined {
  const workloads = mesh.get(captured, namespace).workloads.selected(selector);
  if (workloads.length === 0) return undefined;
  const known = mesh.get(listening, namespace).of(workloads);
  return known.isOpen ? undefined : { ...known, workloads };
}

/** The parts of a problem with a policy for a port at which none of these workloads listens. */
export const unknownPort = (port: number, { hints, services, workloads }: KnownPorts) => ({
  message: `No workload that this policy selects is known to listen on port ${port}${hints.get(port) ?? ""}`,
  related: services,
  evidence: workloads,
});
