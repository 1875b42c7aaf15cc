import type { AnyObject } from "../../kube/object.ts";
import { type Fact, fact, type MeshView, reachedBy, type Reads } from "../../view/view.ts";
import { attachesToGateway, type AuthorizationPolicy, type GatewayTarget } from "../authorization/policies.ts";
import type { ComparedSide } from "../authorization/changed-attachments.ts";
import { Proxies, type ProxyReach, type ServedBy } from "../authorization/proxy-attachments.ts";
import type { ProxyScope } from "../authorization/proxy-scope.ts";
import { readers } from "../membership/control-plane.ts";
import { gatewaysOfNamespace, isIstiosWaypointOrGateway, type KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { workloadsOfNamespace } from "../membership/workloads.ts";
import { formatWaypoint, namespaceOfGateway } from "./bindings.ts";
import {
  type ServedTraffic,
  type ServingWaypoints,
  destinationKinds,
  servingWaypoints,
  usedWaypoints,
  waysToServingWaypoints,
  waysToServingWaypointsOfPods,
} from "./served-traffic.ts";

// What EnvoyFilters, WasmPlugins, TrafficExtensions and RequestAuthentications do at the waypoints that serve a namespace. At a waypoint
// count those of its own namespace and of the root namespace that target it or its class, and those of the namespace of a Service that
// target this Service, for requests to it (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy, authentication.go
// getConfigsForWorkload, push_context.go TrafficExtensionsByListenerInfo). So the namespace of a shared waypoint decides for all that it
// serves.

/** A waypoint of another namespace, and that namespace. */
export interface Elsewhere {
  readonly gateway: KubernetesGateway;
  readonly home: Namespace;
}

/** The waypoints that serve a namespace. */
export class WaypointsServing implements ServedBy {
  readonly #waypoints: ServingWaypoints;
  readonly #namespace: Namespace;
  readonly #mesh: MeshView<typeof namespaceOfGateway>;
  #elsewhere: ReadonlyMap<string, Elsewhere> | undefined;

  constructor(waypoints: ServingWaypoints, namespace: Namespace, mesh: MeshView<typeof namespaceOfGateway>) {
    this.#waypoints = waypoints;
    this.#namespace = namespace;
    this.#mesh = mesh;
  }

  /** Those of other namespaces, by `namespace/name`. */
  get elsewhere(): ReadonlyMap<string, Elsewhere> {
    return (this.#elsewhere ??= this.#findElsewhere());
  }

  get gateways(): readonly GatewayTarget[] {
    return [...this.elsewhere.values()].map(({ gateway: { metadata } }) => ({
      ...{ name: metadata.name, namespace: metadata.namespace, isWaypoint: true },
    }));
  }

  reachOf(kind: "Service" | "ServiceEntry", name: string): ProxyReach {
    const traffic = this.#waypoints.ofNamed(kind, name);
    if (traffic === undefined) return this.#mesh.knowsAll(kind) ? undefined : "possible";
    const used = usedWaypoints(traffic);
    if (used.length === 0) return undefined;
    return used.some(({ gateway }) => gateway !== undefined && isIstiosWaypointOrGateway(gateway, this.#mesh.settings))
      ? "sure"
      : "possible";
  }

  #findElsewhere(): ReadonlyMap<string, Elsewhere> {
    const found = new Map<string, Elsewhere>();
    if (this.#waypoints.areNone) return found;
    for (const traffic of this.#traffic())
      for (const { named, gateway } of usedWaypoints(traffic)) {
        if (gateway === undefined || named.namespace === this.#namespace.metadata.name) continue;
        const [home] = this.#mesh.related(namespaceOfGateway, gateway);
        if (home !== undefined) found.set(formatWaypoint(named), { gateway, home });
      }
    return found;
  }

  *#traffic(): Iterable<ServedTraffic | undefined> {
    for (const kind of ["Service", "Workload"] as const)
      if (this.#waypoints.hasUnlabelled(kind)) yield this.#waypoints.ofUnlabelled(kind);
    for (const kind of destinationKinds)
      for (const name of this.#waypoints.labelled(kind)) yield this.#waypoints.ofNamed(kind, name);
  }
}

/**
 * The waypoints that serve a namespace. Only those on both sides of a change are compared, so that the relations are followed by which
 * objects that are there on both sides get or lose one.
 */
export const waypointsServing = fact(
  "waypointsServing",
  "Namespace",
  [reachedBy(servingWaypoints, [...waysToServingWaypoints, ...waysToServingWaypointsOfPods]), namespaceOfGateway],
  (namespace, mesh) => new WaypointsServing(mesh.get(servingWaypoints, namespace), namespace, mesh),
);

/** The proxies of a namespace, and the waypoints of others that serve it, for what objects can select or target. */
export const proxiesServing = fact(
  "proxiesServing",
  "Namespace",
  [gatewaysOfNamespace, workloadsOfNamespace, waypointsServing],
  (namespace, mesh) => new Proxies(namespace, mesh, mesh.get(waypointsServing, namespace)),
);

type OwnObjects<T> = Fact<string, "Namespace", Reads, readonly T[]>;
type Sides<F extends Reads> = readonly [
  before: ComparedSide<F | typeof waypointsServing | typeof readers>,
  after: ComparedSide<F | typeof waypointsServing | typeof readers>,
];

/**
 * The objects of other namespaces that are attached to waypoints there which serve a namespace on both sides of a change, before and
 * after it. Those of the root namespace are left out, because they are among those of every namespace.
 */
export function attachedElsewhere<T extends AnyObject, F extends OwnObjects<T>>(
  [before, after]: Sides<F>,
  objectsIn: F,
  scopeOf: (object: T) => ProxyScope,
): readonly [before: readonly T[], after: readonly T[]] {
  const [old, now] = [before, after].map(({ object, mesh }) => mesh.get(waypointsServing, object).elsewhere);
  if (old === undefined || now === undefined || old.size === 0 || now.size === 0) return [[], []];
  const shared = [...now.keys()].filter((name) => old.has(name)).sort();
  const listOf = ({ mesh }: Sides<F>[number], elsewhere: ReadonlyMap<string, Elsewhere>): readonly T[] => [
    ...new Set(shared.flatMap((name) => attachedTo(elsewhere.get(name), objectsIn, scopeOf, mesh))),
  ];
  return [listOf(before, old), listOf(after, now)];
}

function attachedTo<T extends AnyObject, F extends OwnObjects<T>>(
  at: Elsewhere | undefined,
  objectsIn: F,
  scopeOf: (object: T) => ProxyScope,
  mesh: MeshView<F | typeof readers>,
): readonly T[] {
  const { settings } = mesh;
  if (at === undefined || at.home.metadata.name === settings.rootNamespace) return [];
  const { gateway, home } = at;
  const { name, namespace } = gateway.metadata;
  const found = (mesh as MeshView<OwnObjects<T>>).get<OwnObjects<T>>(objectsIn, home);
  if (found.length === 0) return found;
  const control = (mesh as MeshView<typeof readers>).get(readers, home);
  const target = { name, namespace, isWaypoint: true };
  return control
    .own(found, control.ofGateway(gateway))
    .filter((object) => attachesToGateway(asPolicy(object, scopeOf(object)), target, settings));
}

/** attachesToGateway reads nothing of a policy but its metadata and its scope. */
export const asPolicy = ({ metadata }: AnyObject, { targetRefs }: ProxyScope): AuthorizationPolicy =>
  ({ metadata, spec: { targetRefs, selector: undefined } }) as unknown as AuthorizationPolicy;
