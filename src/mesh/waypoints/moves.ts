import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { type Fact, type MeshView, reachedBy, type Reads } from "../../view/view.ts";
import { attachesToGateway } from "../authorization/policies.ts";
import type { ProxyScope } from "../authorization/proxy-attachments.ts";
import { readers } from "../membership/control-plane.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { waypointClass } from "../objects/labels.ts";
import { formatWaypoint, namespaceOfGateway, type WaypointBinding } from "./bindings.ts";
import { isGone } from "./departures.ts";
import {
  type Destination,
  type ServedTraffic,
  servingWaypoints,
  type ServingWaypoints,
  usedWaypoints,
  waysToServingWaypoints,
} from "./served-traffic.ts";
import { asPolicy } from "./waypoint-attachments.ts";

/** Traffic that went through a waypoint before a change, and goes through others or none after it. */
export interface Move extends Destination {
  readonly from: WaypointBinding;
  readonly to: readonly WaypointBinding[];
}

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof servingWaypoints>;
}

/** The traffic of a namespace that a change takes away from a waypoint, wherever this is. All objects without a label are one move. */
export function* moves(before: Side, after: Side): Generator<Move, undefined> {
  if (isTerminating(before.object) || isGone(before.object, after.object)) return;
  const old = before.mesh.get(servingWaypoints, before.object);
  if (old.areNone) return;
  const now = after.mesh.get(servingWaypoints, after.object);
  for (const [was, is] of pairs(old, now)) {
    const to = usedWaypoints(is);
    const names = new Set(to.map(({ named }) => formatWaypoint(named)));
    for (const from of usedWaypoints(was))
      if (!names.has(formatWaypoint(from.named))) yield { kind: was.kind, object: was.object, from, to };
  }
}

function* pairs(
  old: ServingWaypoints,
  now: ServingWaypoints,
): Generator<readonly [ServedTraffic, ServedTraffic], undefined> {
  for (const kind of ["Service", "Workload"] as const)
    if (old.hasUnlabelled(kind) && now.hasUnlabelled(kind)) yield [old.ofUnlabelled(kind), now.ofUnlabelled(kind)];
  for (const kind of ["Service", "ServiceEntry", "Workload"] as const)
    for (const name of old.labelled(kind).union(now.labelled(kind))) {
      const [was, is] = [old.ofNamed(kind, name), now.ofNamed(kind, name)];
      if (was !== undefined && is !== undefined) yield [was, is];
    }
}

/** What `leftBehind` reads besides the objects. */
export const readsMoves = [
  reachedBy(servingWaypoints, waysToServingWaypoints),
  namespaceOfGateway,
  rootOfNamespace,
  readers,
] as const;

type OwnObjects<T> = Fact<string, "Namespace", Reads, readonly T[]>;
type View<F extends Reads> = MeshView<F | (typeof readsMoves)[number]>;
interface ComparedSide<F extends Reads> {
  readonly object: Namespace;
  readonly mesh: View<F>;
}

/** Objects of one kind that are attached to waypoints. */
interface Attachable<T, F> {
  readonly objectsIn: F;
  scopeOf(object: T): ProxyScope;
  /** Whether those that target a Service or a ServiceEntry count at its waypoint. */
  readonly isForServices: boolean;
  /** What an object does for requests, in words that are the same for two that do the same; empty: nothing that matters. */
  effectsOf(object: T): readonly string[];
}

/** An object that did something for the requests of a move, and what none does any more at some waypoint that these go through. */
export interface LeftBehind<T> {
  readonly move: Move;
  readonly object: T;
  readonly effects: readonly string[];
}

/**
 * What was attached to a waypoint for requests that leave it: objects of its namespace that target it, of the root namespace that target its
 * class, and of the namespace of a Service that target this one (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy).
 */
export function* leftBehind<T extends AnyObject, F extends OwnObjects<T>>(
  before: ComparedSide<F>,
  after: ComparedSide<F>,
  of: Attachable<T, F>,
): Generator<LeftBehind<T>, undefined> {
  const reported = new Set<T>();
  for (const move of moves(before, after)) {
    const there = attachedTo(move.from, move, before, of);
    if (there.length === 0) continue;
    const left = move.to.map((to) => new Set(attachedTo(to, move, after, of).flatMap((one) => of.effectsOf(one))));
    for (const object of there) {
      const effects = of
        .effectsOf(object)
        .filter((effect) => left.length === 0 || left.some((effects) => !effects.has(effect)));
      if (effects.length > 0 && !reported.has(object)) yield { move, object, effects };
      if (effects.length > 0) reported.add(object);
    }
  }
}

function attachedTo<T extends AnyObject, F extends OwnObjects<T>>(
  { gateway }: WaypointBinding,
  { kind, object }: Move,
  { object: namespace, mesh }: ComparedSide<F>,
  { objectsIn, scopeOf, isForServices }: Attachable<T, F>,
): readonly T[] {
  const [home] = gateway === undefined ? [] : mesh.related(namespaceOfGateway, gateway);
  if (gateway?.spec.gatewayClassName !== waypointClass || home === undefined) return [];
  const [root] = mesh.related(rootOfNamespace, home);
  const control = (mesh as MeshView<typeof readers>).get(readers, home);
  const controlPlane = control.ofGateway(gateway);
  const listOf = (one: Namespace): readonly T[] =>
    control.own((mesh as MeshView<OwnObjects<T>>).get<OwnObjects<T>>(objectsIn, one), controlPlane);
  const target = { name: gateway.metadata.name, namespace: gateway.metadata.namespace, isWaypoint: true };
  const isForGateway = (one: T) => attachesToGateway(asPolicy(one, scopeOf(one)), target, mesh.settings);
  const isForObject = (one: T) =>
    scopeOf(one).targetRefs.some((ref) => ref.kind === kind && ref.name === object?.metadata.name);
  return [
    ...new Set([
      ...[home, ...(root === undefined ? [] : [root])].flatMap((one) => listOf(one).filter(isForGateway)),
      ...(isForServices && object !== undefined ? listOf(namespace).filter(isForObject) : []),
    ]),
  ];
}

/** Whose requests leave, as the subject of a sentence. */
export const leaving = ({ kind, object, from }: Move, namespace: string): string => {
  const whose = object === undefined ? `${kind === "Service" ? "Services" : "pods"} of ${namespace}` : idOf(object);
  return `Requests to ${whose} leave waypoint ${formatWaypoint(from.named)}`;
};
