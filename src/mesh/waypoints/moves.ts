import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import { type Fact, type MeshView, reachedBy, type Reads } from "../../view/view.ts";
import { attachesToGateway } from "../authorization/policies.ts";
import type { ProxyScope } from "../authorization/proxy-scope.ts";
import { readers } from "../membership/control-plane.ts";
import { isIstiosWaypoint, type KubernetesGateway } from "../membership/gateways.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { formatWaypoint, namespaceOfGateway, type WaypointBinding } from "./bindings.ts";
import { isAwaitedAnew, isGone } from "./departures.ts";
import {
  type Destination,
  destinationKinds,
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
export function moves(before: Side, after: Side): readonly Move[] {
  if (isTerminating(before.object) || isGone(before.object, after.object)) return [];
  const old = before.mesh.get(servingWaypoints, before.object);
  if (old.areNone) return [];
  const now = after.mesh.get(servingWaypoints, after.object);
  let found = known.get(old);
  if (found?.now !== now) known.set(old, (found = { now, moves: [...movesBetween(old, now)] }));
  return found.moves;
}

/** Several rules ask about the same moves, of which a namespace can have thousands. */
const known = new KeptIn<ServingWaypoints, { readonly now: ServingWaypoints; readonly moves: readonly Move[] }>();

function* movesBetween(old: ServingWaypoints, now: ServingWaypoints): Generator<Move, undefined> {
  for (const [was, is] of pairs(old, now)) {
    const used = usedWaypoints(was);
    const to = isAwaitedAnew(is.binding, used) ? [] : usedWaypoints(is);
    const names = new Set(to.map(({ named }) => formatWaypoint(named)));
    for (const from of used)
      if (!names.has(formatWaypoint(from.named))) yield { kind: was.kind, object: was.object, from, to };
  }
}

function* pairs(
  old: ServingWaypoints,
  now: ServingWaypoints,
): Generator<readonly [ServedTraffic, ServedTraffic], undefined> {
  for (const kind of ["Service", "Workload"] as const)
    if (old.hasUnlabelled(kind) && now.hasUnlabelled(kind)) yield [old.ofUnlabelled(kind), now.ofUnlabelled(kind)];
  for (const kind of destinationKinds)
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
  const [old, now] = [new Attached(before, of), new Attached(after, of)];
  for (const move of moves(before, after)) {
    const there = old.at(move.from, move);
    if (there.length === 0) continue;
    const left = move.to.map((to) => now.at(to, move));
    after.mesh.visited(left.reduce((sum, { length }) => sum + length, there.length));
    const effectsLeft = left.map((all) => new Set(all.flatMap((one) => of.effectsOf(one))));
    for (const object of there) {
      if (reported.has(object)) continue;
      const isLost = (effect: string) => move.to.length === 0 || effectsLeft.some((effects) => !effects.has(effect));
      const effects = of.effectsOf(object).filter(isLost);
      if (effects.length === 0) continue;
      reported.add(object);
      yield { move, object, effects };
    }
  }
}

interface AtWaypoint<T> {
  readonly home: Namespace;
  readonly all: readonly T[];
}

/** What has an effect at the waypoints of one side, each waypoint looked at once. */
class Attached<T extends AnyObject, F extends OwnObjects<T>> {
  readonly #side: ComparedSide<F>;
  readonly #of: Attachable<T, F>;
  /** Undefined: what another controller does with them is not known, or the namespace is not. */
  readonly #ofWaypoints = new Map<KubernetesGateway, AtWaypoint<T> | undefined>();
  #ofTargets: ReadonlyMap<string, readonly T[]> | undefined;

  constructor(side: ComparedSide<F>, of: Attachable<T, F>) {
    this.#side = side;
    this.#of = of;
  }

  at({ gateway }: WaypointBinding, { kind, object }: Move): readonly T[] {
    if (gateway === undefined) return [];
    if (!this.#ofWaypoints.has(gateway)) this.#ofWaypoints.set(gateway, this.#atWaypoint(gateway));
    const found = this.#ofWaypoints.get(gateway);
    if (found === undefined) return [];
    const targeting = object === undefined ? [] : this.#targeting(`${kind} ${object.metadata.name}`);
    if (targeting.length === 0) return found.all;
    return [...new Set([...found.all, ...this.#read(targeting, gateway, found.home)])];
  }

  #atWaypoint(gateway: KubernetesGateway): AtWaypoint<T> | undefined {
    const [home] = this.#side.mesh.related(namespaceOfGateway, gateway);
    if (!isIstiosWaypoint(gateway, this.#side.mesh.settings) || home === undefined) return undefined;
    return { home, all: this.#ofGateway(gateway, home) };
  }

  #targeting(object: string): readonly T[] {
    if (!this.#of.isForServices) return [];
    this.#ofTargets ??= this.#byTarget();
    return this.#ofTargets.get(object) ?? [];
  }

  #ofGateway(gateway: KubernetesGateway, home: Namespace): readonly T[] {
    const { mesh } = this.#side;
    const [root] = mesh.related(rootOfNamespace, home);
    const all = [home, ...(root === undefined ? [] : [root])].flatMap((one) => this.#objectsIn(one));
    const target = { name: gateway.metadata.name, namespace: gateway.metadata.namespace, isWaypoint: true };
    const attached = all.filter((one) =>
      attachesToGateway(asPolicy(one, this.#of.scopeOf(one)), target, mesh.settings),
    );
    return [...new Set(this.#read(attached, gateway, home))];
  }

  #byTarget(): ReadonlyMap<string, readonly T[]> {
    const found = new Map<string, T[]>();
    for (const one of this.#objectsIn(this.#side.object))
      for (const { kind, name } of this.#of.scopeOf(one).targetRefs) {
        const key = `${kind} ${name}`;
        const there = found.get(key);
        if (there === undefined) found.set(key, [one]);
        else there.push(one);
      }
    return found;
  }

  #objectsIn(namespace: Namespace): readonly T[] {
    const mesh = this.#side.mesh as MeshView<OwnObjects<T>>;
    return mesh.get<OwnObjects<T>>(this.#of.objectsIn, namespace).filter((one) => this.#of.effectsOf(one).length > 0);
  }

  #read(objects: readonly T[], gateway: KubernetesGateway, home: Namespace): readonly T[] {
    const control = (this.#side.mesh as MeshView<typeof readers>).get(readers, home);
    return control.own(objects, control.ofGateway(gateway));
  }
}

/** Whose requests leave, as the subject of a sentence. */
export const leaving = ({ kind, object, from }: Move, namespace: string): string => {
  const whose = object === undefined ? `${kind === "Service" ? "Services" : "pods"} of ${namespace}` : idOf(object);
  return `Requests to ${whose} leave waypoint ${formatWaypoint(from.named)}`;
};
