import { fact, type MeshView, reachedBy } from "../../view/view.ts";
import type { WaypointAt } from "../authorization/choices.ts";
import { noCoverage, together } from "../authorization/coverage.ts";
import { authorization, type Coverage, hasDefaultDeny } from "../authorization/effective-authorization.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { selectingEntriesOfNamespace } from "../membership/workload-entries.ts";
import { formatWaypoint, namespaceOfGateway, type WaypointBinding, waypointNamed } from "./bindings.ts";
import { type GuardedTraffic, usedWays, waypointGuards } from "./guarded-traffic.ts";
import { type Destination, servingWaypoints, usedWaypoints } from "./served-traffic.ts";

/** A waypoint of another namespace, and whether it is a canary wherever it serves. */
export interface SharedWaypoint {
  /** `namespace/name` */
  readonly name: string;
  readonly gateway: KubernetesGateway;
  readonly isCanary: boolean;
}

const reads = [
  waypointGuards,
  authorization,
  servicesOfNamespace,
  selectingEntriesOfNamespace,
  namespaceOfGateway,
] as const;
type View = MeshView<(typeof reads)[number]>;

/**
 * The waypoints of other namespaces through which Services, ServiceEntries or pods of this one are reached, also as a canary for a share of
 * the connections, and where no policy denies by default: neither one for the waypoint, in its namespace, nor one for the Service or the
 * ServiceEntry, in this namespace. No policy targets pods, and a ServiceEntry that selects none leads to nothing in this namespace. Waypoints of the namespace itself are left out.
 */
export const openSharedWaypoints = fact("openSharedWaypoints", "Namespace", reads, (namespace, mesh) => {
  const guards = mesh.get(waypointGuards, namespace);
  if (guards.areNone) return none;
  const found = new Map<string, SharedWaypoint>();
  const { own } = mesh.get(authorization, namespace);
  /** `targets`: those that policies may target; undefined: pods, or not all are known. */
  const enter = (
    traffic: GuardedTraffic | undefined,
    targets: readonly string[] | undefined,
    coverageOfTarget: (name: string) => Coverage = (name) => own.ofService(name),
  ): void => {
    for (const [binding, isCanary] of waypointsOf(traffic)) {
      const gateway = sharedBy(binding, namespace);
      if (gateway === undefined) continue;
      const there = waypointAt({ named: gateway.metadata, gateway }, namespace, mesh);
      const at = there === undefined ? noCoverage : coverageOf(there, mesh);
      const isOpen = (target: string): boolean => !hasDefaultDeny(together(coverageOfTarget(target), at));
      if (targets === undefined ? hasDefaultDeny(at) : !targets.some(isOpen)) continue;
      const name = formatWaypoint(gateway.metadata);
      found.set(name, { name, gateway, isCanary: isCanary && found.get(name)?.isCanary !== false });
    }
  };
  const labelled = guards.labelled("Service");
  enter(guards.ofUnlabelled("Service"), unlabelledServices(namespace, labelled, mesh));
  for (const name of labelled) enter(guards.ofNamed("Service", name), [name]);
  for (const { metadata } of mesh.related(selectingEntriesOfNamespace, namespace))
    enter(guards.ofNamed("ServiceEntry", metadata.name), [metadata.name], (name) => own.ofEntry(name));
  if (guards.hasUnlabelled("Workload")) enter(guards.ofUnlabelled("Workload"), undefined);
  for (const kind of ["Workload", "WorkloadEntry"] as const)
    for (const name of guards.labelled(kind)) enter(guards.ofNamed(kind, name), undefined);
  return found.size === 0 ? none : [...found.values()];
});
const none: readonly SharedWaypoint[] = Object.freeze([]);

/** The waypoint of some traffic, and the canary beside it. */
const waypointsOf = (traffic: GuardedTraffic | undefined) =>
  traffic === undefined ? [] : usedWays(traffic).map(({ binding }, i) => [binding, i > 0] as const);

/** The gateway that serves as a waypoint, if it is in another namespace. */
function sharedBy({ named, gateway }: WaypointBinding, { metadata }: Namespace): KubernetesGateway | undefined {
  return named.namespace === metadata.name ? undefined : gateway;
}

/** Undefined: not all Services are known. */
function unlabelledServices(
  namespace: Namespace,
  labelled: ReadonlySet<string>,
  mesh: View,
): readonly string[] | undefined {
  if (!mesh.knowsAll("Service")) return undefined;
  const names = mesh.related(servicesOfNamespace, namespace).map(({ metadata }) => metadata.name);
  return names.filter((name) => !labelled.has(name));
}

type WaypointView = MeshView<typeof authorization | typeof namespaceOfGateway>;

/** The waypoint of objects of a namespace; undefined: its namespace is not known. */
export function waypointAt(
  { named, gateway }: Pick<WaypointBinding, "named" | "gateway">,
  namespace: Namespace,
  mesh: WaypointView,
): WaypointAt | undefined {
  const isOwn = named.namespace === namespace.metadata.name;
  const home = isOwn ? namespace : gateway && mesh.related(namespaceOfGateway, gateway)[0];
  if (home === undefined) return undefined;
  const { gateways, readers } = mesh.get(authorization, home);
  const known = gateways.find(({ name }) => name === named.name);
  const controlPlane = readers.ofGateway(gateway ?? home);
  return {
    home,
    waypoint: known ?? { id: `Gateway ${formatWaypoint(named)}`, ...named, isWaypoint: true, controlPlane },
  };
}

/** The policies of its namespace and of the root namespace that target the waypoint. */
const coverageOf = ({ home, waypoint }: WaypointAt, mesh: MeshView<typeof authorization>): Coverage =>
  mesh.get(authorization, home).ofGateway(waypoint);

/** What requests are sent to, by its name. */
interface Target {
  readonly kind: Destination["kind"];
  readonly metadata: { readonly name: string };
}

/**
 * The coverage at one waypoint: by the policies that target the Service or the ServiceEntry, in its own namespace, and by those for the
 * waypoint. Requests to the address of a pod are for no Service there.
 */
export function coverageAt(
  { kind, metadata }: Target,
  namespace: Namespace,
  at: WaypointAt,
  mesh: MeshView<typeof authorization>,
): Coverage {
  if (kind === "Workload" || kind === "WorkloadEntry") return coverageOf(at, mesh);
  const own = mesh.get(authorization, namespace).ofTargetAlone({ kind, metadata }, at.waypoint.controlPlane);
  return together(own, coverageOf(at, mesh));
}

/**
 * The coverage by policies of other namespaces at the waypoints there through which a Service or a ServiceEntry of a namespace is reached;
 * undefined: it is not reached through such a waypoint, as far as is known.
 */
export type CoverageElsewhere = (kind: "Service" | "ServiceEntry", name: string) => readonly Coverage[] | undefined;

/**
 * How policies for waypoints of other namespaces cover the Services and the ServiceEntries of a namespace. What these lose is compared by
 * `namespace-waypoint-left`, so that a rule which compares policies of the namespace itself takes them as they are after a change, and no
 * change reaches it through them.
 */
export const coverageElsewhere = fact(
  "coverageElsewhere",
  "Namespace",
  [reachedBy(servingWaypoints, []), reachedBy(authorization, []), namespaceOfGateway],
  (namespace, mesh): CoverageElsewhere => {
    const waypoints = mesh.get(servingWaypoints, namespace);
    if (waypoints.areNone) return () => undefined;
    return (kind, name) => {
      const used = usedWaypoints(waypoints.ofNamed(kind, name));
      const there = used.flatMap((one) => waypointAt(one, namespace, mesh) ?? []);
      return there.some(({ home }) => home.metadata.name !== namespace.metadata.name)
        ? there.map((one) => coverageOf(one, mesh))
        : undefined;
    };
  },
);

/** Whether a Service refuses a waypoint with its own label, as far as it is known. */
export type RefusesWaypoint = (service: string) => boolean;

/**
 * The Services of a namespace with `istio.io/use-waypoint: none`, so that a policy which targets one has no effect (Istio
 * pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget). What they lose by it is compared by
 * `namespace-waypoint-left`, so that no change reaches a rule through this fact. One without any label may get one later.
 */
export const servicesRefusingWaypoint = fact(
  "servicesRefusingWaypoint",
  "Namespace",
  [reachedBy(servingWaypoints, [])],
  (namespace, mesh): RefusesWaypoint => {
    const waypoints = mesh.get(servingWaypoints, namespace);
    return (service) => {
      const { metadata } = waypoints.bound("Service", service)?.object ?? {};
      return metadata !== undefined && waypointNamed(metadata.labels, metadata.namespace) === "none";
    };
  },
);
