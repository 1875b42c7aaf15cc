import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isExternalName, isHeadless, type Service, servicesOfNamespace } from "../membership/services.ts";
import { labelsOfWorkloadEntry, workloadEntriesOfNamespace } from "../membership/workload-entries.ts";
import { isOwned, isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import {
  canaryWeight,
  gatewayNameLabel,
  ingressUseWaypoint,
  managedGateway,
  useWaypoint,
  useWaypointCanary,
} from "../objects/labels.ts";
import { isServed } from "../objects/revision.ts";
import { canaryBindingOf, canaryReads } from "./canaries.ts";
import {
  inherited,
  isUsable,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
  waypointBindingOfWorkload,
  waypointBindingOfWorkloadEntry,
  waypointOfNamespace,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
  waypointOfWorkloadEntry,
} from "./bindings.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;
type WorkloadEntry = ObjectOf<"WorkloadEntry">;

/** The labels by which a Service has another waypoint than its namespace; that of a gateway itself has none. So has one with a share of its own. */
const ownLabels = [useWaypoint, useWaypointCanary, ingressUseWaypoint, managedGateway];
const isLabelled = ({ metadata }: Service | ServiceEntry): boolean =>
  ownLabels.some((label) => metadata.labels[label] !== undefined) || metadata.annotations[canaryWeight] !== undefined;

/** A namespace and its Services with a waypoint label of their own. */
const labelledServicesOfNamespace = relation(
  "labelledServicesOfNamespace",
  namespaceByName,
  index("Service", (service) => (isLabelled(service) ? [service.metadata.namespace] : [])),
);
/** A namespace and its workloads with a waypoint label of their own, or with the label of a Gateway, which have none. */
const labelledWorkloadsOfNamespace = relation(
  "labelledWorkloadsOfNamespace",
  namespaceByName,
  index("Workload", (workload) =>
    isLabelledWorkload(workload) && !isOwned(workload) ? [workload.metadata.namespace] : [],
  ),
);
const never = (): boolean => false;
const areLabelled = (labels: Readonly<Record<string, string>>): boolean =>
  labels[useWaypoint] !== undefined || labels[gatewayNameLabel] !== undefined;
const isLabelledWorkload = ({ pod: { labels } }: Workload): boolean => areLabelled(labels);
const isLabelledMachine = (entry: WorkloadEntry): boolean => areLabelled(labelsOfWorkloadEntry(entry));
/** A namespace and its WorkloadEntries with a waypoint label of their own, or with the label of a Gateway. */
const labelledMachinesOfNamespace = relation(
  "labelledMachinesOfNamespace",
  namespaceByName,
  index("WorkloadEntry", (entry, settings) =>
    isLabelledMachine(entry) && isServed(entry, settings) ? [entry.metadata.namespace] : [],
  ),
);
/** A namespace and its ServiceEntries with a waypoint label of their own. */
const labelledEntriesOfNamespace = relation(
  "labelledEntriesOfNamespace",
  namespaceByName,
  index("ServiceEntry", (entry, settings) =>
    isLabelled(entry) && isServed(entry, settings) ? [entry.metadata.namespace] : [],
  ),
);
/** A namespace and its ServiceEntries. */
const entriesOfNamespace = relation(
  "entriesOfNamespace",
  namespaceByName,
  index("ServiceEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
);

/** What requests are sent to: one object, or all objects of a namespace without a waypoint label of their own. */
export interface Destination {
  readonly kind: "Service" | "ServiceEntry" | "Workload" | "WorkloadEntry";
  /** Undefined: all objects of the kind without a label. */
  readonly object: Addressed | undefined;
}
/** What requests can be sent to. */
export type Addressed = Service | ServiceEntry | Workload | WorkloadEntry;
/** The kinds of objects with a waypoint: for requests to them, and for those to their addresses. */
export const destinationKinds = ["Service", "ServiceEntry", "Workload", "WorkloadEntry"] as const;

/** A destination, and the waypoints that its labels request. */
export interface ServedTraffic extends Destination {
  readonly binding: WaypointBinding | undefined;
  /** The waypoint that serves a share of the connections. */
  readonly canary: WaypointBinding | undefined;
}

/** The waypoints through which connections go: none that is not usable, and not the first one if its canary gets all. */
export function usedWaypoints(traffic: ServedTraffic | undefined): readonly WaypointBinding[] {
  if (!isUsable(traffic?.binding)) return [];
  if (!isUsable(traffic.canary)) return [traffic.binding];
  return traffic.canary.share === 1 ? [traffic.canary] : [traffic.binding, traffic.canary];
}

/** An object and the waypoint that its labels request. */
interface Bound {
  readonly object: Addressed;
  readonly binding: WaypointBinding | undefined;
}

type View = MeshView<(typeof reads)[number]>;
const reads = [
  ...canaryReads,
  entriesOfNamespace,
  labelledEntriesOfNamespace,
  labelledMachinesOfNamespace,
  labelledServicesOfNamespace,
  labelledWorkloadsOfNamespace,
  servicesOfNamespace,
  waypointBinding,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
  waypointOfWorkloadEntry,
  workloadEntriesOfNamespace,
  workloadsOfNamespace,
] as const;

/** The waypoints of all that requests can be sent to in one namespace, before or after a change. */
export class ServingWaypoints {
  readonly #namespace: Namespace;
  readonly #mesh: View;
  readonly #labelled = new Map<Destination["kind"], ReadonlySet<string>>();
  /** Several rules ask about the same objects, of which a namespace can have thousands. */
  readonly #traffic = new Map<Addressed, ServedTraffic & Bound>();
  #services: ReadonlyMap<string, Service> | undefined;
  #entries: ReadonlyMap<string, ServiceEntry> | undefined;
  #workloads: ReadonlyMap<string, Workload> | undefined;
  #machines: ReadonlyMap<string, WorkloadEntry> | undefined;

  constructor(namespace: Namespace, mesh: View) {
    this.#namespace = namespace;
    this.#mesh = mesh;
  }

  /** Whether no label requests a waypoint. */
  get areNone(): boolean {
    return (
      this.#mesh.get(waypointBinding, this.#namespace) === undefined &&
      destinationKinds.every((kind) => this.labelled(kind).size === 0)
    );
  }

  /** The names of objects with a waypoint label of their own. */
  labelled(kind: Destination["kind"]): ReadonlySet<string> {
    let found = this.#labelled.get(kind);
    if (found === undefined) this.#labelled.set(kind, (found = new Set(this.#namesOfLabelled(kind))));
    return found;
  }

  #namesOfLabelled(kind: Destination["kind"]): readonly string[] {
    if (kind === "Service")
      return this.#mesh.related(labelledServicesOfNamespace, this.#namespace).map(nameOfDestination);
    if (kind === "Workload")
      return this.#mesh.related(labelledWorkloadsOfNamespace, this.#namespace).map(nameOfDestination);
    if (kind === "WorkloadEntry")
      return this.#mesh.related(labelledMachinesOfNamespace, this.#namespace).map(nameOfDestination);
    return this.#mesh.related(labelledEntriesOfNamespace, this.#namespace).map(nameOfDestination);
  }

  /**
   * Whether the namespace has, or may have, objects of the kind without a label of their own, which can have a waypoint. ServiceEntries
   * are among Services, and WorkloadEntries among workloads.
   */
  hasUnlabelled(kind: "Service" | "Workload", isLeftOut: (object: Service | ServiceEntry) => boolean = never): boolean {
    if (!this.#mesh.knowsAll(kind)) return true;
    if (kind === "Workload")
      return (
        this.#mesh
          .related(workloadsOfNamespace, this.#namespace)
          .some((workload) => !isLabelledWorkload(workload) && !isProxy(workload)) ||
        this.#mesh.related(workloadEntriesOfNamespace, this.#namespace).some((entry) => !isLabelledMachine(entry))
      );
    const counts = (object: Service | ServiceEntry) => !isLabelled(object) && !isLeftOut(object);
    return (
      this.#mesh
        .related(servicesOfNamespace, this.#namespace)
        .some((one) => !isHeadless(one) && !isExternalName(one) && counts(one)) ||
      this.#mesh.related(entriesOfNamespace, this.#namespace).some(counts)
    );
  }

  /** The objects without a label of their own. */
  ofUnlabelled(kind: "Service" | "Workload"): ServedTraffic {
    const traffic = kind === "Service" ? "service" : "workload";
    const binding = inherited(this.#namespace, this.#mesh, traffic);
    const canary = kind === "Service" ? this.#canaryOf(undefined, binding) : undefined;
    return { kind, object: undefined, binding, canary };
  }

  /** Those that istiod reads. The list is the same one on both sides of a change that touches none of them. */
  entries(kind: "ServiceEntry" | "WorkloadEntry"): readonly (ServiceEntry | WorkloadEntry)[] {
    return this.#mesh.related(
      kind === "ServiceEntry" ? entriesOfNamespace : workloadEntriesOfNamespace,
      this.#namespace,
    );
  }

  /** An object and its waypoint. Undefined: there is no such object. A Service may exist that the view does not contain. */
  bound(kind: Destination["kind"], name: string): Bound | undefined {
    const object = this.#find(kind, name);
    return object && (this.#traffic.get(object) ?? { object, binding: this.#bindingOf(object) });
  }

  /** The same with its canary. */
  ofNamed(kind: Destination["kind"], name: string): ServedTraffic | undefined {
    const object = this.#find(kind, name);
    if (object === undefined) return undefined;
    let found = this.#traffic.get(object);
    if (found === undefined) this.#traffic.set(object, (found = this.#trafficTo(object)));
    return found;
  }

  #trafficTo(object: Addressed): ServedTraffic & Bound {
    const binding = this.#bindingOf(object);
    const hasCanary = object.kind === "Service" || object.kind === "ServiceEntry";
    return { kind: object.kind, object, binding, canary: hasCanary ? this.#canaryOf(object, binding) : undefined };
  }

  #canaryOf(
    object: Service | ServiceEntry | undefined,
    primary: WaypointBinding | undefined,
  ): WaypointBinding | undefined {
    return canaryBindingOf(object, this.#namespace, primary, this.#mesh);
  }

  #bindingOf(object: Addressed): WaypointBinding | undefined {
    if (object.kind === "Service") return waypointBindingOfService(object, this.#namespace, this.#mesh);
    if (object.kind === "Workload") return waypointBindingOfWorkload(object, this.#namespace, this.#mesh);
    if (object.kind === "WorkloadEntry") return waypointBindingOfWorkloadEntry(object, this.#namespace, this.#mesh);
    return waypointBindingOfServiceEntry(object, this.#namespace, this.#mesh);
  }

  #find(kind: Destination["kind"], name: string): Addressed | undefined {
    const namespace = this.#namespace;
    if (kind === "WorkloadEntry") {
      this.#machines ??= byName(this.#mesh.related(workloadEntriesOfNamespace, namespace));
      return this.#machines.get(name);
    }
    if (kind === "Service") {
      // One that becomes another name for a host is not there any more, as far as waypoints know.
      this.#services ??= byName(
        this.#mesh.related(servicesOfNamespace, namespace).filter((service) => !isExternalName(service)),
      );
      return this.#services.get(name);
    }
    if (kind === "Workload") {
      this.#workloads ??= byName(this.#mesh.related(workloadsOfNamespace, namespace));
      return this.#workloads.get(name);
    }
    this.#entries ??= byName(this.#mesh.related(entriesOfNamespace, namespace));
    return this.#entries.get(name);
  }
}

/** Workloads of several kinds can have the same name. */
export const nameOfDestination = ({ kind, originKind, metadata }: Addressed): string =>
  kind === "Workload" ? `${originKind} ${metadata.name}` : metadata.name;
const byName = <T extends Addressed>(objects: readonly T[]): ReadonlyMap<string, T> =>
  new Map(objects.map((object) => [nameOfDestination(object), object]));

/** The waypoints of all that requests can be sent to in a namespace. */
export const servingWaypoints = fact(
  "servingWaypoints",
  "Namespace",
  reads,
  (namespace, mesh) => new ServingWaypoints(namespace, mesh),
);

/** The relations by which Services get or lose a waypoint that they have on both sides of a change. Others only come and go. */
export const waysToServingWaypoints = [
  labelledServicesOfNamespace,
  labelledEntriesOfNamespace,
  waypointOfNamespace,
  waypointOfService,
  waypointOfServiceEntry,
  ...canaryReads,
] as const;

/** The same for the addresses of pods and of WorkloadEntries. */
export const waysToServingWaypointsOfPods = [
  labelledMachinesOfNamespace,
  labelledWorkloadsOfNamespace,
  waypointOfWorkload,
  waypointOfWorkloadEntry,
] as const;
