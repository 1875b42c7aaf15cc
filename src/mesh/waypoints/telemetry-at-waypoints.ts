import { idOf } from "../../kube/identity.ts";
import { fact, type MeshView, reachedBy } from "../../view/view.ts";
import { readers } from "../membership/control-plane.ts";
import {
  gatewaysOfNamespace,
  isIstiosWaypoint,
  isIstiosWaypointOrGateway,
  type KubernetesGateway,
} from "../membership/gateways.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { waypointClass } from "../objects/labels.ts";
import { telemetriesInOrder, type Telemetry } from "../telemetry/merged-telemetry.ts";
import { type TelemetryProxy, telemetriesForSome } from "../telemetry/telemetry-of-proxies.ts";
import { targetNamed, targetsOf } from "../telemetry/targets.ts";
import { formatWaypoint, isUsable, namespaceOfGateway, type WaypointBinding, takesPods } from "./bindings.ts";
import {
  type ServedTraffic,
  type ServingWaypoints,
  servingWaypoints,
  waysToServingWaypoints,
} from "./served-traffic.ts";
import { isUnusedWaypoint } from "./users.ts";

const reads = [
  gatewaysOfNamespace,
  // Only waypoints that serve the same before and after a change are compared, so these two are not followed as a whole.
  reachedBy(isUnusedWaypoint, []),
  reachedBy(servingWaypoints, waysToServingWaypoints),
  namespaceOfGateway,
  readers,
  rootOfNamespace,
  telemetriesForSome,
  telemetriesInOrder,
] as const;
type View = MeshView<(typeof reads)[number]>;

type DestinationKind = "Service" | "ServiceEntry";
const destinationKinds: readonly DestinationKind[] = ["Service", "ServiceEntry"];

/**
 * Which Telemetries waypoints use for requests to the Services and ServiceEntries of a namespace: one of the root namespace, one of
 * the namespace of the waypoint, one of the namespace of the Service, and of this last one all that target the Service. What targets
 * the waypoint counts only for Services of its own namespace, and what targets the class of waypoints only for those of the root
 * namespace. A selector never counts (Istio pilot/pkg/model/telemetry.go applicableTelemetries, policyattachment.go
 * ShouldAttachPolicy; networking/core/listener_waypoint.go passes the Service to both).
 */
export class TelemetryAtWaypoints {
  readonly #namespace: Namespace;
  readonly #mesh: View;
  readonly #waypoints: ServingWaypoints;
  readonly #byTarget = new Map<string, Telemetry[]>();
  readonly #named: Readonly<Record<DestinationKind, ReadonlySet<string>>>;
  /** What a waypoint uses for destinations that no Telemetry targets. */
  readonly #untargeted = new Map<KubernetesGateway | undefined, readonly Telemetry[]>();

  constructor(namespace: Namespace, mesh: View) {
    this.#namespace = namespace;
    this.#mesh = mesh;
    this.#waypoints = mesh.get(servingWaypoints, namespace);
    for (const telemetry of mesh.related(telemetriesForSome, namespace).toSorted(oldestFirst))
      for (const target of new Set(targetsOf(telemetry))) {
        const known = this.#byTarget.get(target);
        if (known === undefined) this.#byTarget.set(target, [telemetry]);
        else known.push(telemetry);
      }
    this.#named = { Service: this.#namesOf("Service"), ServiceEntry: this.#namesOf("ServiceEntry") };
  }

  /** Those with a waypoint label of their own, and those that Telemetries target. */
  #namesOf(kind: DestinationKind): ReadonlySet<string> {
    const prefix = targetNamed(kind, "");
    const targeted = [...this.#byTarget.keys()].filter((target) => target.startsWith(prefix));
    return new Set([...this.#waypoints.labelled(kind), ...targeted.map((target) => target.slice(prefix.length))]);
  }

  /** The waypoints on both sides of a change, this one being after it, for each destination that has one on both. */
  *pairsWith(before: TelemetryAtWaypoints): Iterable<readonly [was: TelemetryProxy, is: TelemetryProxy]> {
    if (this === before) return;
    // Lists that several destinations share are compared once.
    const compared = new Map<readonly Telemetry[], readonly Telemetry[]>();
    for (const [was, is] of this.#allWith(before)) {
      if (compared.get(is.telemetries) === was.telemetries) continue;
      if (was.isSure && is.isSure) compared.set(is.telemetries, was.telemetries);
      yield [was, is];
    }
  }

  *#allWith(before: TelemetryAtWaypoints): Iterable<readonly [was: TelemetryProxy, is: TelemetryProxy]> {
    for (const kind of destinationKinds)
      for (const name of new Set([...before.#named[kind], ...this.#named[kind]]))
        yield* withSameId(before.ofDestination(kind, name), this.ofDestination(kind, name));
    yield* withSameId(before.ofOthers(), this.ofOthers());
    yield* withSameId(before.#ofOwn(), this.#ofOwn());
  }

  /** The waypoint of a Service or a ServiceEntry, and its canary. */
  ofDestination(kind: DestinationKind, name: string): readonly TelemetryProxy[] {
    const traffic = this.#waypoints.ofNamed(kind, name);
    const target = targetNamed(kind, name);
    if (traffic !== undefined) return this.#serving(traffic, target);
    if (this.#mesh.knowsAll(kind)) return nothing;
    // It can have a label of its own that names another waypoint.
    const likely = this.#serving(this.#waypoints.ofUnlabelled("Service"), target);
    const possible = likely.length > 0 ? likely : [this.#proxy("waypoint", undefined, target)];
    return possible.map((proxy) => ({ ...proxy, isSure: false }));
  }

  /** The same for all of which the namespace alone decides. */
  ofOthers(): readonly TelemetryProxy[] {
    const traffic = this.#waypoints.ofUnlabelled("Service");
    if (!isUsable(traffic.binding)) return nothing;
    const hasOthers = this.#waypoints.hasUnlabelled("Service", ({ kind, metadata }) =>
      this.#named[kind].has(metadata.name),
    );
    return hasOthers ? this.#serving(traffic, undefined) : nothing;
  }

  /**
   * The waypoints of the namespace itself, as they are for requests to addresses of pods, which name no Service. One that nobody uses
   * yet stands for those who will. One that serves only Services is among those of its Services, if there are any.
   */
  #ofOwn(): readonly TelemetryProxy[] {
    const areKnown = destinationKinds.every((kind) => this.#mesh.knowsAll(kind));
    return this.#mesh
      .related(gatewaysOfNamespace, this.#namespace)
      .filter((gateway) => isIstiosWaypoint(gateway, this.#mesh.settings))
      .flatMap((gateway) => {
        const isSure = takesPods(gateway, this.#mesh.settings) || this.#mesh.get(isUnusedWaypoint, gateway);
        return isSure || !areKnown ? [{ ...this.#proxy(idOf(gateway), gateway, undefined), isSure }] : [];
      });
  }

  #serving({ binding, canary }: ServedTraffic, target: string | undefined): readonly TelemetryProxy[] {
    if (!isUsable(binding)) return nothing;
    const primary = this.#bound("waypoint", binding, target);
    return isUsable(canary) ? [primary, this.#bound("canary", canary, target)] : [primary];
  }

  #bound(id: string, { gateway, named }: WaypointBinding, target: string | undefined): TelemetryProxy {
    const proxy = this.#proxy(id, gateway, target);
    return named.namespace === this.#namespace.metadata.name ? proxy : { ...proxy, waypoint: formatWaypoint(named) };
  }

  /** Undefined instead of a gateway: one that is not known, as if it were of this namespace. */
  #proxy(id: string, gateway: KubernetesGateway | undefined, target: string | undefined): TelemetryProxy {
    const isSure = gateway !== undefined && isIstiosWaypointOrGateway(gateway, this.#mesh.settings);
    return { id, side: "SERVER", isSure, telemetries: this.#usedAt(gateway, target) };
  }

  #usedAt(gateway: KubernetesGateway | undefined, target: string | undefined): readonly Telemetry[] {
    if (target !== undefined && this.#byTarget.has(target))
      return [...this.#forAllAt(gateway), ...this.#targeting(gateway, target)];
    let found = this.#untargeted.get(gateway);
    if (found === undefined) {
      found = [...this.#forAllAt(gateway), ...this.#targeting(gateway, undefined)];
      this.#untargeted.set(gateway, found);
    }
    return found;
  }

  #forAllAt(gateway: KubernetesGateway | undefined): readonly Telemetry[] {
    const home = this.#homeOf(gateway);
    const root = this.#mesh.related(rootOfNamespace, home);
    const isRoot = root.some(({ metadata }) => metadata.name === home.metadata.name);
    // That of the root namespace is merged once more for its own Services, after that of the waypoint's namespace.
    const levels = [...root, ...(isRoot ? [] : [home]), ...(this.#isSelf(home) ? [] : [this.#namespace])];
    return levels.flatMap((one) => this.#readAt(gateway, one, this.#mesh.get(telemetriesInOrder, one))[0] ?? []);
  }

  #targeting(gateway: KubernetesGateway | undefined, target: string | undefined): readonly Telemetry[] {
    const targets = target === undefined ? this.#targetsAt(gateway) : [target, ...this.#targetsAt(gateway)];
    const found = new Set<Telemetry>();
    for (const one of targets) for (const telemetry of this.#byTarget.get(one) ?? nothing) found.add(telemetry);
    return this.#readAt(gateway, this.#namespace, [...found].toSorted(oldestFirst));
  }

  /** What a Telemetry of this namespace can target so that it counts at a waypoint for all destinations here. */
  #targetsAt(gateway: KubernetesGateway | undefined): readonly string[] {
    const { name } = this.#namespace.metadata;
    const isOwn = gateway?.metadata.namespace === name;
    const ofClass = name === this.#mesh.settings.rootNamespace ? [targetNamed("GatewayClass", waypointClass)] : [];
    return isOwn ? [targetNamed("Gateway", gateway.metadata.name), ...ofClass] : ofClass;
  }

  /** Those of a namespace's Telemetries that the control plane of a waypoint reads. */
  #readAt(
    gateway: KubernetesGateway | undefined,
    namespace: Namespace,
    telemetries: readonly Telemetry[],
  ): readonly Telemetry[] {
    if (telemetries.length === 0) return telemetries;
    const controlPlane = gateway && this.#mesh.get(readers, this.#homeOf(gateway)).ofGateway(gateway);
    return this.#mesh.get(readers, namespace).own(telemetries, controlPlane);
  }

  #homeOf(gateway: KubernetesGateway | undefined): Namespace {
    const [home] = gateway === undefined ? [] : this.#mesh.related(namespaceOfGateway, gateway);
    return home ?? this.#namespace;
  }

  #isSelf({ metadata }: Namespace): boolean {
    return metadata.name === this.#namespace.metadata.name;
  }
}

/** Which Telemetries waypoints use for requests to the Services of a namespace. */
export const telemetryAtWaypoints = fact(
  "telemetryAtWaypoints",
  "Namespace",
  reads,
  (namespace, mesh) => new TelemetryAtWaypoints(namespace, mesh),
);

const nothing: readonly never[] = Object.freeze([]);

function* withSameId(
  old: readonly TelemetryProxy[],
  now: readonly TelemetryProxy[],
): Iterable<readonly [was: TelemetryProxy, is: TelemetryProxy]> {
  for (const is of now) {
    const was = old.find(({ id }) => id === is.id);
    if (was !== undefined) yield [was, is];
  }
}
