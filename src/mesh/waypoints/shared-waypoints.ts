import { fact, type MeshView } from "../../view/view.ts";
import { noCoverage, together } from "../authorization/coverage.ts";
import { authorization, type Coverage, hasDefaultDeny } from "../authorization/effective-authorization.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { servicesOfNamespace } from "../membership/services.ts";
import { formatWaypoint, isUsable, namespaceOfGateway, type WaypointBinding } from "./bindings.ts";
import { type GuardedTraffic, waypointGuards } from "./guarded-traffic.ts";

/** A waypoint of another namespace, and whether it is a canary wherever it serves. */
export interface SharedWaypoint {
  /** `namespace/name` */
  readonly name: string;
  readonly gateway: KubernetesGateway;
  readonly isCanary: boolean;
}

const reads = [waypointGuards, authorization, servicesOfNamespace, namespaceOfGateway] as const;
type View = MeshView<(typeof reads)[number]>;

/**
 * The waypoints of other namespaces through which Services of this one are reached, also as a canary for a share of the
 * connections, and where no policy denies by default: neither one for the waypoint, in its namespace, nor one for the Service,
 * in this namespace. Waypoints of the namespace itself are left out.
 */
export const openSharedWaypoints = fact("openSharedWaypoints", "Namespace", reads, (namespace, mesh) => {
  const guards = mesh.get(waypointGuards, namespace);
  if (guards.areNone) return none;
  const found = new Map<string, SharedWaypoint>();
  const { own } = mesh.get(authorization, namespace);
  const enter = (traffic: GuardedTraffic | undefined, services: readonly string[] | undefined): void => {
    for (const [binding, isCanary] of waypointsOf(traffic)) {
      const gateway = sharedBy(binding, namespace);
      if (gateway === undefined) continue;
      const at = coverageOf(gateway, mesh);
      const isOpen = (service: string): boolean => !hasDefaultDeny(together(own.ofService(service), at));
      if (services === undefined ? hasDefaultDeny(at) : !services.some(isOpen)) continue;
      const name = formatWaypoint(gateway.metadata);
      found.set(name, { name, gateway, isCanary: isCanary && found.get(name)?.isCanary !== false });
    }
  };
  const labelled = guards.labelled("Service");
  enter(guards.ofUnlabelled("Service"), unlabelledServices(namespace, labelled, mesh));
  for (const name of labelled) enter(guards.ofNamed("Service", name), [name]);
  return found.size === 0 ? none : [...found.values()];
});
const none: readonly SharedWaypoint[] = Object.freeze([]);

/** The waypoint of some traffic, and its canary. */
const waypointsOf = (traffic: GuardedTraffic | undefined) =>
  [
    [traffic?.binding, false],
    [traffic?.canary?.binding, true],
  ] as const;

/** The gateway that serves as a waypoint, if it is in another namespace. */
function sharedBy(binding: WaypointBinding | undefined, { metadata }: Namespace): KubernetesGateway | undefined {
  return isUsable(binding) && binding.named.namespace !== metadata.name ? binding.gateway : undefined;
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

/** The policies of its namespace and of the root namespace that target the waypoint. */
function coverageOf(gateway: KubernetesGateway, mesh: View): Coverage {
  const { name, namespace } = gateway.metadata;
  const target = { name, namespace, isWaypoint: true };
  const [there] = mesh.related(namespaceOfGateway, gateway);
  const found = there && mesh.get(authorization, there);
  return found === undefined ? noCoverage : found.ofGateway(found.gateways.find((one) => one.name === name) ?? target);
}
