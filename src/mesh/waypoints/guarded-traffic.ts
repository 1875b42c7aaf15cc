import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../membership/services.ts";
import { isOwned, isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import {
  gatewayNameLabel,
  ingressUseWaypoint,
  managedGateway,
  useWaypoint,
  useWaypointCanary,
} from "../objects/labels.ts";
import { isTrueText } from "../objects/parse-bool.ts";
import { isServed } from "../objects/revision.ts";
import {
  canaryBindingOf,
  canaryOfNamespace,
  canaryOfService,
  canaryOfServiceEntry,
  inherited,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
  waypointBindingOfWorkload,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
} from "./bindings.ts";
import {
  type EnforcedPolicies,
  noPolicies,
  policiesOfGateway,
  policiesOfServices,
  policiesOfWaypointClass,
} from "./enforced-policies.ts";

type ServiceEntry = ObjectOf<"ServiceEntry">;

/** The labels by which a Service has another waypoint than its namespace; that of a gateway itself has none. */
const ownLabels = [useWaypoint, useWaypointCanary, ingressUseWaypoint, managedGateway];
const isLabelled = ({ metadata }: Service | ServiceEntry): boolean =>
  ownLabels.some((label) => metadata.labels[label] !== undefined);

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
const isLabelledWorkload = ({ pod: { labels } }: Workload): boolean =>
  labels[useWaypoint] !== undefined || labels[gatewayNameLabel] !== undefined;
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
  readonly kind: "Service" | "ServiceEntry" | "Workload";
  /** Undefined: all objects of the kind without a label. */
  readonly object: Service | ServiceEntry | Workload | undefined;
}

/** An object and the waypoint that its labels request. */
interface Served {
  readonly object: Service | ServiceEntry | Workload;
  readonly binding: WaypointBinding | undefined;
}

/** A destination, the waypoint that its labels request, and the policies that this waypoint enforces for it. */
export interface GuardedTraffic extends Destination {
  readonly namespace: string;
  readonly binding: WaypointBinding | undefined;
  /** Policies that target the destination, its waypoint, and the class of waypoints. */
  readonly policies: readonly EnforcedPolicies[];
  /**
   * Whether ingress gateways send requests through the waypoint, too (Istio pilot/pkg/serviceregistry/ambient/services.go
   * ingressUseWaypointFromLabels).
   */
  readonly isForIngress: boolean;
  /** The waypoint that serves a share of the connections, and the policies that it enforces for them. */
  readonly canary: Canary | undefined;
}
export interface Canary {
  readonly binding: WaypointBinding;
  readonly policies: readonly EnforcedPolicies[];
}

type View = MeshView<
  | typeof canaryOfNamespace
  | typeof canaryOfService
  | typeof canaryOfServiceEntry
  | typeof entriesOfNamespace
  | typeof labelledEntriesOfNamespace
  | typeof labelledServicesOfNamespace
  | typeof labelledWorkloadsOfNamespace
  | typeof policiesOfGateway
  | typeof policiesOfServices
  | typeof policiesOfWaypointClass
  | typeof servicesOfNamespace
  | typeof waypointBinding
  | typeof waypointOfService
  | typeof waypointOfServiceEntry
  | typeof waypointOfWorkload
  | typeof workloadsOfNamespace
>;

/** The policies that waypoints enforce in one namespace, before or after a change. */
export class WaypointGuards {
  readonly #namespace: Namespace;
  readonly #mesh: View;
  readonly #labelled = new Map<Destination["kind"], ReadonlySet<string>>();
  #services: ReadonlyMap<string, Service> | undefined;
  #entries: ReadonlyMap<string, ServiceEntry> | undefined;
  #workloads: ReadonlyMap<string, Workload> | undefined;

  constructor(namespace: Namespace, mesh: View) {
    this.#namespace = namespace;
    this.#mesh = mesh;
  }

  /** Whether no label requests a waypoint, so that no policy is enforced at one. */
  get areNone(): boolean {
    return (
      this.#mesh.get(waypointBinding, this.#namespace) === undefined &&
      this.labelled("Service").size === 0 &&
      this.labelled("Workload").size === 0 &&
      this.labelled("ServiceEntry").size === 0
    );
  }

  /** The names of objects with a waypoint label of their own. */
  labelled(kind: Destination["kind"]): ReadonlySet<string> {
    let found = this.#labelled.get(kind);
    if (found === undefined) this.#labelled.set(kind, (found = new Set(this.#namesOfLabelled(kind))));
    return found;
  }

  #namesOfLabelled(kind: Destination["kind"]): readonly string[] {
    if (kind === "Service") return this.#mesh.related(labelledServicesOfNamespace, this.#namespace).map(nameOf);
    if (kind === "Workload") return this.#mesh.related(labelledWorkloadsOfNamespace, this.#namespace).map(nameOf);
    return this.#mesh.related(labelledEntriesOfNamespace, this.#namespace).map(nameOf);
  }

  /** The names of the objects that policies target. */
  targeted(kind: "Service" | "ServiceEntry"): Iterable<string> {
    return this.#mesh.get(policiesOfServices, this.#namespace)[kind].keys();
  }

  /** Whether the namespace has, or may have, objects of the kind without a label of their own. */
  hasUnlabelled(kind: "Service" | "Workload"): boolean {
    if (!this.#mesh.knowsAll(kind)) return true;
    if (kind === "Workload")
      return this.#mesh
        .related(workloadsOfNamespace, this.#namespace)
        .some((workload) => !isLabelledWorkload(workload) && !isProxy(workload));
    const isUnlabelled = (object: Service | ServiceEntry) => !isLabelled(object);
    return (
      this.#mesh.related(servicesOfNamespace, this.#namespace).some(isUnlabelled) ||
      this.#mesh.related(entriesOfNamespace, this.#namespace).some(isUnlabelled)
    );
  }

  /** The objects without a label of their own. */
  ofUnlabelled(kind: "Service" | "Workload"): GuardedTraffic {
    const traffic = kind === "Service" ? "service" : "workload";
    const binding = inherited(this.#namespace, this.#mesh, traffic);
    const isForIngress = kind === "Service" && this.#isForIngress({});
    const canary = kind === "Service" ? this.#canaryOf(undefined, binding, []) : undefined;
    const policies = this.#atWaypoint(binding);
    return { ...this.#here, kind, object: undefined, binding, policies, isForIngress, canary };
  }

  /** An object and its waypoint; undefined: there is no such object. */
  served(kind: Destination["kind"], name: string): Served | undefined {
    const object = this.#find(kind, name);
    return object && { object, binding: this.#bindingOf(object) };
  }

  /** Undefined: there is no such object. A Service may exist that the view does not contain. */
  ofNamed(kind: Destination["kind"], name: string): GuardedTraffic | undefined {
    const served = this.served(kind, name);
    if (served === undefined) return undefined;
    const { object, binding } = served;
    const targeting = [this.#targeting(kind, name)];
    const policies = [...targeting, ...this.#atWaypoint(binding)];
    const canary = object.kind === "Workload" ? undefined : this.#canaryOf(object, binding, targeting);
    const isForIngress = kind !== "Workload" && this.#isForIngress(object.metadata.labels);
    return { ...this.#here, kind, object, binding, policies, isForIngress, canary };
  }

  #canaryOf(
    object: Service | ServiceEntry | undefined,
    primary: WaypointBinding | undefined,
    targeting: readonly EnforcedPolicies[],
  ): Canary | undefined {
    const binding = canaryBindingOf(object, this.#namespace, primary, this.#mesh);
    return binding && { binding, policies: [...targeting, ...this.#atWaypoint(binding)] };
  }

  get #here(): { readonly namespace: string } {
    return { namespace: this.#namespace.metadata.name };
  }

  #isForIngress(labels: Readonly<Record<string, string>>): boolean {
    return isTrueText(labels[ingressUseWaypoint] ?? this.#namespace.metadata.labels[ingressUseWaypoint]);
  }

  #targeting(kind: Destination["kind"], name: string): EnforcedPolicies {
    if (kind === "Workload") return noPolicies;
    return this.#mesh.get(policiesOfServices, this.#namespace)[kind].get(name) ?? noPolicies;
  }

  #atWaypoint(binding: WaypointBinding | undefined): readonly EnforcedPolicies[] {
    if (binding === undefined) return [];
    const ofGateway = binding.gateway && this.#mesh.get(policiesOfGateway, binding.gateway);
    return [ofGateway ?? noPolicies, this.#mesh.get(policiesOfWaypointClass, this.#namespace)];
  }

  #bindingOf(object: Service | ServiceEntry | Workload): WaypointBinding | undefined {
    if (object.kind === "Service") return waypointBindingOfService(object, this.#namespace, this.#mesh);
    if (object.kind === "Workload") return waypointBindingOfWorkload(object, this.#namespace, this.#mesh);
    return waypointBindingOfServiceEntry(object, this.#namespace, this.#mesh);
  }

  #find(kind: Destination["kind"], name: string): Service | ServiceEntry | Workload | undefined {
    const namespace = this.#namespace;
    if (kind === "Service") {
      this.#services ??= byName(this.#mesh.related(servicesOfNamespace, namespace));
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
const nameOf = ({ kind, originKind, metadata }: Service | ServiceEntry | Workload): string =>
  kind === "Workload" ? `${originKind} ${metadata.name}` : metadata.name;
const byName = <T extends Service | ServiceEntry | Workload>(objects: readonly T[]): ReadonlyMap<string, T> =>
  new Map(objects.map((object) => [nameOf(object), object]));

/** The policies that waypoints enforce for the contents of a namespace. */
export const waypointGuards = fact(
  "waypointGuards",
  "Namespace",
  [
    canaryOfNamespace,
    canaryOfService,
    canaryOfServiceEntry,
    entriesOfNamespace,
    labelledEntriesOfNamespace,
    labelledServicesOfNamespace,
    labelledWorkloadsOfNamespace,
    policiesOfGateway,
    policiesOfServices,
    policiesOfWaypointClass,
    servicesOfNamespace,
    waypointBinding,
    waypointOfService,
    waypointOfServiceEntry,
    waypointOfWorkload,
    workloadsOfNamespace,
  ],
  (namespace, mesh) => new WaypointGuards(namespace, mesh),
);
