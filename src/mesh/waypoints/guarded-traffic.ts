import { fact, type MeshView } from "../../view/view.ts";
import { isIstiosWaypoint } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { readers } from "../membership/control-plane.ts";
import {
  formatWaypoint,
  identityOfWaypoint,
  isForGateways,
  isUsable,
  namespaceOfGateway,
  type WaypointBinding,
} from "./bindings.ts";
import {
  type EnforcedPolicies,
  type WaypointPolicy,
  noPolicies,
  policiesOfGateway,
  policiesOfServices,
  policiesOfWaypointClass,
} from "./enforced-policies.ts";
import {
  type Destination,
  destinationKinds,
  type ServedTraffic,
  type ServingWaypoints,
  servingWaypoints,
} from "./served-traffic.ts";

/** A destination, the waypoint that its labels request, and the policies that this waypoint enforces for it. */
export interface GuardedTraffic extends Destination {
  readonly namespace: string;
  readonly binding: WaypointBinding | undefined;
  /** Policies that target the destination, its waypoint, and the class of waypoints. */
  readonly policies: readonly EnforcedPolicies[];
  /** Whether ingress gateways send requests through the waypoint, too. */
  readonly isForIngress: boolean;
  /** The waypoint that serves a share of the connections, and the policies that it enforces for them. */
  readonly canary: GuardedWay | undefined;
}
/** A waypoint through which connections go, and the policies that it enforces for them. */
export interface GuardedWay {
  readonly binding: WaypointBinding;
  readonly policies: readonly EnforcedPolicies[];
}

/** The waypoints through which connections go: none that is not usable, and not the first one if its canary gets all. */
export function usedWays({ binding, policies, canary }: GuardedTraffic): readonly GuardedWay[] {
  if (!isUsable(binding)) return [];
  if (!isUsable(canary?.binding)) return [{ binding, policies }];
  return canary.binding.share === 1 ? [canary] : [{ binding, policies }, canary];
}

const reads = [
  policiesOfGateway,
  policiesOfServices,
  policiesOfWaypointClass,
  servingWaypoints,
  namespaceOfGateway,
  readers,
] as const;
type View = MeshView<(typeof reads)[number]>;

/** What the control plane of a waypoint reads: which policies, and those of them for the waypoint itself. */
interface ReadBy {
  readonly isRead: (policy: WaypointPolicy) => boolean;
  readonly atWaypoint: readonly EnforcedPolicies[];
}

/** The policies that waypoints enforce in one namespace, before or after a change. */
export class WaypointGuards {
  readonly #namespace: Namespace;
  readonly #mesh: View;
  readonly #waypoints: ServingWaypoints;
  readonly #readers = new Map<string, ReadBy>();

  constructor(namespace: Namespace, mesh: View) {
    this.#namespace = namespace;
    this.#mesh = mesh;
    this.#waypoints = mesh.get(servingWaypoints, namespace);
  }

  /** Whether no label requests a waypoint, so that no policy is enforced at one. */
  get areNone(): boolean {
    return this.#waypoints.areNone;
  }

  /** The names of objects with a waypoint label of their own. */
  labelled(kind: Destination["kind"]): ReadonlySet<string> {
    return this.#waypoints.labelled(kind);
  }

  /** The names of the objects that policies target. */
  targeted(kind: "Service" | "ServiceEntry"): Iterable<string> {
    return this.#mesh.get(policiesOfServices, this.#namespace)[kind].keys();
  }

  /** Whether the namespace has, or may have, objects of the kind without a label of their own. */
  hasUnlabelled(kind: "Service" | "Workload"): boolean {
    return this.#waypoints.hasUnlabelled(kind);
  }

  /** The objects without a label of their own. */
  ofUnlabelled(kind: "Service" | "Workload"): GuardedTraffic {
    return this.#guarded(this.#waypoints.ofUnlabelled(kind), []);
  }

  /** Undefined: there is no such object. A Service may exist that the view does not contain. */
  ofNamed(kind: Destination["kind"], name: string): GuardedTraffic | undefined {
    const traffic = this.#waypoints.ofNamed(kind, name);
    return traffic && this.of(traffic, name);
  }

  /** The policies for an object with these waypoints. */
  of(traffic: ServedTraffic, name: string): GuardedTraffic {
    return this.#guarded(traffic, [this.#targeting(traffic.kind, name)]);
  }

  #guarded(traffic: ServedTraffic, targeting: readonly EnforcedPolicies[]): GuardedTraffic {
    const { kind, object, binding, canary } = traffic;
    const at = (waypoint: WaypointBinding | undefined) => this.#readAt(waypoint, targeting);
    return {
      ...traffic,
      namespace: this.#namespace.metadata.name,
      policies: at(binding),
      isForIngress:
        (kind === "Service" || kind === "ServiceEntry") &&
        isForGateways(object?.metadata.labels ?? {}, this.#namespace),
      canary: canary && { binding: canary, policies: at(canary) },
    };
  }

  #targeting(kind: Destination["kind"], name: string): EnforcedPolicies {
    if (kind !== "Service" && kind !== "ServiceEntry") return noPolicies;
    return this.#mesh.get(policiesOfServices, this.#namespace)[kind].get(name) ?? noPolicies;
  }

  /** Those that target the destination, the waypoint and its class, and that the control plane of the waypoint reads. */
  #readAt(waypoint: WaypointBinding | undefined, targeting: readonly EnforcedPolicies[]): readonly EnforcedPolicies[] {
    if (waypoint === undefined) return targeting;
    const key = formatWaypoint(waypoint.named);
    let there = this.#readers.get(key);
    if (there === undefined) {
      const isRead = this.#readAtWaypoint(waypoint);
      there = { isRead, atWaypoint: this.#atWaypoint(waypoint).map((list) => list.readBy(isRead)) };
      this.#readers.set(key, there);
    }
    const { isRead, atWaypoint } = there;
    return [...targeting.map((list) => list.readBy(isRead)), ...atWaypoint];
  }

  #readAtWaypoint({ gateway }: WaypointBinding): ReadBy["isRead"] {
    const [home] = gateway === undefined ? [] : this.#mesh.related(namespaceOfGateway, gateway);
    if (gateway === undefined || !isIstiosWaypoint(gateway, this.#mesh.settings) || home === undefined)
      return () => true;
    const readsThere = this.#mesh.get(readers, home);
    const controlPlane = readsThere.ofGateway(gateway);
    const readsHere = this.#mesh.get(readers, this.#namespace);
    return (policy) =>
      (policy.metadata.namespace === home.metadata.name ? readsThere : readsHere).reads(policy, controlPlane);
  }

  #atWaypoint(binding: WaypointBinding | undefined): readonly EnforcedPolicies[] {
    if (binding === undefined) return [];
    const ofGateway = binding.gateway && this.#mesh.get(policiesOfGateway, binding.gateway);
    return [ofGateway ?? noPolicies, this.#mesh.get(policiesOfWaypointClass, this.#namespace)];
  }
}

/** The policies that waypoints enforce for the contents of a namespace. */
export const waypointGuards = fact(
  "waypointGuards",
  "Namespace",
  reads,
  (namespace, mesh) => new WaypointGuards(namespace, mesh),
);

/** The accounts (`<namespace>/<name>`) of the waypoints in use by objects of a namespace with a label of their own. */
export const waypointAccountsNamed = fact(
  "waypointAccountsNamed",
  "Namespace",
  [waypointGuards],
  (namespace, mesh): ReadonlySet<string> => {
    const guards = mesh.get(waypointGuards, namespace);
    const accounts = new Set<string>();
    for (const kind of destinationKinds)
      for (const name of guards.labelled(kind)) {
        const traffic = guards.ofNamed(kind, name);
        for (const { binding } of traffic === undefined ? [] : usedWays(traffic)) accounts.add(accountOf(binding));
      }
    return accounts;
  },
);

/** The account as which a waypoint calls, as `<namespace>/<name>`. */
export function accountOf({ named, gateway }: WaypointBinding): string {
  const { namespace, serviceAccount } = identityOfWaypoint(named, gateway);
  return `${namespace}/${serviceAccount}`;
}
