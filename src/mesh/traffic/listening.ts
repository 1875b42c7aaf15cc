import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { captured } from "../membership/captured.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import type { Workload } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import { type SelectorGroup, SelectorGroups } from "../objects/selector-groups.ts";
import { type Sidecar, selectorOfSidecar, sidecarFor, sidecarsFirst, sidecarsOfNamespace } from "./sidecar-egress.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/**
 * The ports at which workloads are known to listen: ports that their containers declare, which is optional, ports that Services
 * and ServiceEntries target, and those of the listeners that a Sidecar gives them (Istio
 * pilot/pkg/networking/core/listener_inbound.go buildInboundChainConfigs). A targetPort that is a name is the name of a declared port.
 */
export interface KnownPorts {
  /** Those of one selector. */
  readonly workloads: readonly Workload[];
  readonly ports: ReadonlySet<number>;
  /** The Services that select the workloads. */
  readonly services: readonly Service[];
  /** The end of the message for an unknown port: `: it is a port of Service ...`. */
  readonly hints: ReadonlyMap<number, string>;
}

/** Thousands of policies can select a workload each, and few of them have a message. */
class Known implements KnownPorts {
  readonly workloads: readonly Workload[];
  readonly ports: ReadonlySet<number>;
  /** For some workload no port is known, so it can listen at any. */
  readonly isOpen: boolean;
  readonly #find: () => readonly Service[];
  #services: readonly Service[] | undefined;
  #hints: ReadonlyMap<number, string> | undefined;

  constructor(
    workloads: readonly Workload[],
    { ports, isOpen, find }: Pick<Known, "ports" | "isOpen"> & { readonly find: () => readonly Service[] },
  ) {
    this.workloads = workloads;
    this.ports = ports;
    this.isOpen = isOpen;
    this.#find = find;
  }

  get services(): readonly Service[] {
    return (this.#services ??= this.#find());
  }
  get hints(): ReadonlyMap<number, string> {
    return (this.#hints ??= hintsOf(this.services));
  }
}

/** The known ports of workloads in one namespace. Policies with the same selector share a result. */
class Listening {
  readonly #order: ReadonlyMap<Service, number>;
  readonly #groups: SelectorGroups<Service>;
  readonly #entries: SelectorGroups<ServiceEntry>;
  readonly #listeners: Listeners;
  readonly #targets = new Map<SelectorGroup<Service> | SelectorGroup<ServiceEntry>, ReadonlySet<number>>();
  readonly #known = new Map<readonly Workload[], Known>();

  constructor(services: readonly Service[], entries: readonly ServiceEntry[], listeners: Listeners) {
    this.#listeners = listeners;
    this.#entries = new SelectorGroups(entries.map((one) => [one.spec.workloadSelector?.labels ?? {}, one] as const));
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
    const leading = new Set<SelectorGroup<Service> | SelectorGroup<ServiceEntry>>();
    let isOpen = false;
    for (const { pod } of workloads) {
      let hasTargets = false;
      const lead = (group: SelectorGroup<Service> | SelectorGroup<ServiceEntry>) => {
        hasTargets ||= this.#targetsOf(group).size > 0;
        leading.add(group);
      };
      for (const group of this.#groups.selecting(pod.labels)) {
        fronting.add(group);
        lead(group);
      }
      for (const group of this.#entries.selecting(pod.labels)) lead(group);
      for (const { number } of pod.ports) ports.add(number);
      for (const port of this.#listeners.of(pod.labels)) ports.add(port);
      isOpen ||= pod.ports.length === 0 && !hasTargets;
    }
    for (const group of leading) for (const port of this.#targetsOf(group)) ports.add(port);
    return new Known(workloads, { ports, isOpen, find: () => this.#inOrder(fronting) });
  }

  #inOrder(groups: ReadonlySet<SelectorGroup<Service>>): readonly Service[] {
    const place = (service: Service) => this.#order.get(service) ?? 0;
    return [...groups].flatMap(({ members }) => members).sort((a, b) => place(a) - place(b));
  }

  #targetsOf(group: SelectorGroup<Service> | SelectorGroup<ServiceEntry>): ReadonlySet<number> {
    let targets = this.#targets.get(group);
    if (targets === undefined) {
      targets = new Set([...group.members].flatMap(targetsOf).filter((port) => typeof port === "number"));
      this.#targets.set(group, targets);
    }
    return targets;
  }
}

const targetsOf = (one: Service | ServiceEntry): readonly (number | string | undefined)[] =>
  one.kind === "Service"
    ? one.spec.ports.map(({ port, targetPort }) => targetPort || port)
    : one.spec.ports.map(({ number, targetPort }) => targetPort || number);

/** The listeners that Sidecars give workloads, by their labels. */
class Listeners {
  readonly #own: SelectorGroups<Sidecar>;
  readonly #ofRoot: readonly number[];

  constructor(own: readonly Sidecar[], ofRoot: readonly Sidecar[]) {
    const sorted = own.toSorted(sidecarsFirst);
    this.#own = new SelectorGroups(sorted.map((one) => [selectorOfSidecar(one) ?? {}, one] as const));
    this.#ofRoot = portsOf(sidecarFor([], ofRoot, {}));
  }

  /** As sidecarFor, without a look at each Sidecar for each of many workloads. */
  of(labels: Readonly<Record<string, string>>): readonly number[] {
    const groups = this.#own.selecting(labels);
    if (groups.length === 0) return this.#ofRoot;
    const [first] = groups.flatMap(({ members }) => members[0] ?? []).sort(sidecarsFirst);
    return portsOf(first);
  }
}

const portsOf = (sidecar: Sidecar | undefined): readonly number[] =>
  (sidecar?.spec.ingress ?? []).flatMap(({ port }) => port?.number ?? []);

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

/** A Namespace and its ServiceEntries that select workloads. */
export const listeningEntriesOfNamespace = relation(
  "listeningEntriesOfNamespace",
  namespaceByName,
  index("ServiceEntry", (entry, settings) =>
    entry.spec.workloadSelector !== undefined && isServed(entry, settings) ? [entry.metadata.namespace] : [],
  ),
);

/** A Namespace and the Sidecars of the root namespace. */
const sidecarsOfRoot = relation("sidecarsOfRoot", rootOfNamespace.from, sidecarsOfNamespace.to);

/** The known ports of the workloads of a namespace. The key is its name: the labels of the Namespace decide nothing of it. */
export const listening = fact(
  "listening",
  "key",
  [servicesOfNamespace, listeningEntriesOfNamespace, sidecarsOfNamespace, sidecarsOfRoot],
  (namespace, mesh) =>
    new Listening(
      mesh.under(servicesOfNamespace, [namespace]),
      mesh.under(listeningEntriesOfNamespace, [namespace]),
      new Listeners(
        mesh.under(sidecarsOfNamespace, [namespace]),
        mesh.under(sidecarsOfRoot, [mesh.settings.rootNamespace]),
      ),
    ),
);

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
  const known = mesh.get(listening, namespace.metadata.name).of(workloads);
  return known.isOpen ? undefined : known;
}

/** The parts of a problem with a policy for a port at which none of these workloads listens. */
export const unknownPort = (port: number, { hints, services, workloads }: KnownPorts) => ({
  message: `No workload that this policy selects is known to listen on port ${port}${hints.get(port) ?? ""}`,
  related: services,
  evidence: workloads,
});
