import { keyOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { type Fact, fact, type MeshView, type Reads } from "../../view/view.ts";
import { captureOf } from "../membership/capture.ts";
import { gatewaysOfNamespace, type KubernetesGateway } from "../membership/gateways.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadPairs, workloadsOfNamespace } from "../membership/workloads.ts";
import { Labelled } from "../objects/labelled.ts";
import { selects } from "../objects/selectors.ts";
import { attachesToGateway, type AuthorizationPolicy, type TargetRef } from "./policies.ts";

// EnvoyFilters, WasmPlugins, Telemetries and others are attached to proxies as policies are: to sidecars and gateways by
// their labels, to gateways and waypoints by targetRefs (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy).

type Labels = Readonly<Record<string, string>>;

/** The proxies that an object is for. Without labels and targets, all of its namespace, or of the mesh. */
export interface ProxyScope {
  readonly labels: Labels;
  readonly targetRefs: readonly TargetRef[];
}

/** The scope of an object with a selector and targetRefs, of which `targetRef` is the older form; newer kinds do not have it. */
export const policyScope = ({
  selector,
  targetRef,
  targetRefs,
}: Pick<AuthorizationPolicy["spec"], "selector" | "targetRefs"> & {
  readonly targetRef?: AuthorizationPolicy["spec"]["targetRef"];
}): ProxyScope => ({
  labels: selector?.matchLabels ?? noLabels,
  targetRefs: targetRefs.length === 0 && targetRef !== undefined ? [targetRef] : targetRefs,
});
export const noLabels: Labels = Object.freeze({});

/** The scopes of the objects that have an effect, by the name of the effect. */
export class EffectScopes {
  readonly #scopes = new Map<string, Map<string, ProxyScope>>();

  add(effect: string, scope: ProxyScope): void {
    this.#scopes.set(effect, (this.#scopes.get(effect) ?? new Map()).set(JSON.stringify(scope), scope));
  }

  /** Whether an object for all proxies, or for the same ones, has this effect. */
  has(effect: string, scope: ProxyScope): boolean {
    const scopes = this.#scopes.get(effect);
    return scopes?.has(everywhere) === true || scopes?.has(JSON.stringify(scope)) === true;
  }

  /** Whether an object that selects these labels has this effect. */
  selects(effect: string, labels: Labels): boolean {
    const scopes = [...(this.#scopes.get(effect)?.values() ?? [])];
    return scopes.some((scope) => scope.targetRefs.length === 0 && selects(scope.labels, labels));
  }
}
const everywhere = JSON.stringify({ labels: noLabels, targetRefs: [] } satisfies ProxyScope);

/** The namespaces whose objects apply to the proxies of a namespace: itself, then the root namespace. */
export function namespacesInForce(namespace: Namespace, mesh: MeshView<typeof rootOfNamespace>): readonly Namespace[] {
  const others = mesh
    .related(rootOfNamespace, namespace)
    .filter(({ metadata }) => metadata.name !== namespace.metadata.name);
  return [namespace, ...others];
}

/** Whether an object applies to proxies of a namespace for certain or possibly; undefined: it does not. */
export type ProxyReach = "sure" | "possible" | undefined;

/** The sidecars, gateways and waypoints of a namespace. Objects with the same selector share a result. */
class Proxies {
  readonly #namespace: Namespace;
  readonly #workloads: Labelled<Workload>;
  readonly #gateways: readonly KubernetesGateway[];
  readonly #mesh: MeshView;
  readonly #reach = new Map<readonly Workload[], ProxyReach>();

  constructor(
    namespace: Namespace,
    workloads: readonly Workload[],
    gateways: readonly KubernetesGateway[],
    mesh: MeshView,
  ) {
    this.#namespace = namespace;
    this.#workloads = new Labelled(workloads, ({ pod }) => pod.labels);
    this.#gateways = gateways;
    this.#mesh = mesh;
  }

  /** Whether an object of this scope applies to some proxy. ztunnel is none. */
  reachOf(object: AnyObject, { labels, targetRefs }: ProxyScope): ProxyReach {
    return targetRefs.length === 0 ? this.#reachOfLabels(labels) : this.#reachOfTargets(object, targetRefs);
  }

  #reachOfLabels(labels: Labels): ProxyReach {
    const selected = this.#workloads.selected(labels);
    if (!this.#reach.has(selected)) this.#reach.set(selected, this.#look(selected));
    return this.#reach.get(selected);
  }

  #look(workloads: readonly Workload[]): ProxyReach {
    let mayBe = !this.#mesh.knowsAll("Workload");
    for (const workload of workloads) {
      const capture = isProxy(workload) ? "sidecar" : captureOf(workload, this.#namespace);
      if (capture === "sidecar") return "sure";
      mayBe ||= capture === "unknown";
    }
    return mayBe ? "possible" : undefined;
  }

  #reachOfTargets({ metadata }: AnyObject, targetRefs: readonly TargetRef[]): ProxyReach {
    // These functions accept policies, and need only where the object is and what it targets.
    const asPolicy = { metadata, spec: { targetRefs } } as unknown as AuthorizationPolicy;
    const namespace = this.#namespace.metadata.name;
    const targetsService = targetRefs.some(({ kind }) => kind === "Service" || kind === "ServiceEntry");
    const isAttached = this.#gateways.some(({ metadata: { name }, spec: { gatewayClassName } }) =>
      attachesToGateway(
        asPolicy,
        { name, namespace, isWaypoint: gatewayClassName === "istio-waypoint" },
        this.#mesh.settings,
      ),
    );
    if (isAttached || (metadata.namespace === namespace && targetsService)) return "sure";
    return this.#mesh.knowsAll("KubernetesGateway") ? undefined : "possible";
  }
}

/** The proxies of a namespace that objects can select or target. */
export const proxiesOfNamespace = fact(
  "proxiesOfNamespace",
  "Namespace",
  [gatewaysOfNamespace, workloadsOfNamespace],
  (namespace, mesh) =>
    new Proxies(
      namespace,
      mesh.related(workloadsOfNamespace, namespace),
      mesh.related(gatewaysOfNamespace, namespace),
      mesh,
    ),
);

/** A namespace on one side of a change. */
interface ComparedSide<in R extends Reads> {
  readonly object: Namespace;
  readonly mesh: MeshView<R>;
}
type Side = ComparedSide<typeof workloadsOfNamespace>;

/** An object after a change, and as it was before. */
export interface ChangedObject<T> {
  readonly object: T;
  readonly was: T | undefined;
}
const compared = new WeakMap<
  readonly AnyObject[],
  { readonly before: readonly AnyObject[]; readonly changed: readonly ChangedObject<AnyObject>[] }
>();

/**
 * The objects of a list that are new, or that have another spec. The mesh-wide objects are the same two lists for all
 * namespaces, which are compared once.
 */
export function changedObjects<T extends AnyObject & { readonly spec: unknown }>(
  before: readonly T[],
  after: readonly T[],
): readonly ChangedObject<T>[] {
  if (before === after) return [];
  const known = compared.get(after);
  if (known?.before === before) return known.changed as readonly ChangedObject<T>[];
  const old = new Map(before.map((object) => [keyOf(object), object]));
  const changed = after.flatMap((object): readonly ChangedObject<T>[] => {
    const was = old.get(keyOf(object));
    const isSame = was === object || JSON.stringify(was?.spec) === JSON.stringify(object.spec);
    return isSame ? [] : [{ object, was }];
  });
  compared.set(after, { before, changed });
  return changed;
}

/** An effect on the proxies of a namespace that an object has only after a change. */
export interface AddedEffect<T> {
  readonly object: T;
  readonly effect: string;
  readonly reach: "sure" | "possible";
  /** The effects that the object had before. */
  readonly known: ReadonlySet<string>;
}

type OwnObjects<T> = Fact<string, "Namespace", Reads, readonly T[]>;

interface Effects<T, F extends OwnObjects<T>> {
  /** The objects of a namespace itself that may have effects. */
  readonly objectsIn: F;
  readonly proxies: typeof proxiesOfNamespace;
  scopeOf(object: T): ProxyScope;
  effectsOf(object: T): readonly string[];
}

/**
 * What new and changed objects of a namespace and of the root namespace do to the proxies of that namespace that they did not
 * before. Nothing in a namespace that is being deleted.
 */
export function* addedEffects<T extends AnyObject & { readonly spec: unknown }, F extends OwnObjects<T>>(
  [before, after]: readonly [
    before: ComparedSide<F | typeof rootOfNamespace>,
    after: ComparedSide<F | typeof rootOfNamespace | typeof proxiesOfNamespace>,
  ],
  { objectsIn, proxies, scopeOf, effectsOf }: Effects<T, F>,
): Iterable<AddedEffect<T>> {
  if (isTerminating(after.object)) return;
  const [old, now] = [before, after].map(({ object, mesh }) =>
    namespacesInForce(object, mesh).map((one) => (mesh as MeshView<OwnObjects<T>>).get<OwnObjects<T>>(objectsIn, one)),
  );
  const changed = now?.flatMap((objects, level) => changedObjects(old?.[level] ?? [], objects)) ?? [];
  for (const { object, was } of changed) {
    const reach = after.mesh.get(proxies, after.object).reachOf(object, scopeOf(object));
    if (reach === undefined) continue;
    const known = new Set(was === undefined ? [] : effectsOf(was));
    for (const effect of effectsOf(object)) if (!known.has(effect)) yield { object, effect, reach, known };
  }
}

/** A workload whose labels change, so that an object selects its proxy that did not before. */
export interface NewlySelected<T> {
  readonly workload: Workload;
  readonly object: T;
}

/**
 * The unchanged objects that select a relabelled workload with a proxy only after the change. `lists` are those of the
 * namespace and of the root namespace before and after the change.
 */
export function* newlySelected<T extends AnyObject & { readonly spec: unknown }>(
  [before, after]: readonly [before: Side, after: Side],
  [old, now]: readonly [before: readonly (readonly T[])[], after: readonly (readonly T[])[]],
  labelsOf: (object: T) => Labels | undefined,
): Iterable<NewlySelected<T>> {
  if (now.every((objects) => objects.length === 0)) return;
  for (const [was, is] of relabelled(before, after)) {
    const isNew = (object: T): boolean => {
      const labels = labelsOf(object);
      return labels !== undefined && selects(labels, is.pod.labels) && !selects(labels, was.pod.labels);
    };
    for (const [level, objects] of now.entries()) {
      const changed = new Set(changedObjects(old[level] ?? [], objects).map(({ object }) => object));
      after.mesh.visited(objects.length);
      const selected = objects.filter((object) => !changed.has(object) && isNew(object));
      yield* selected.map((object) => ({ workload: is, object }));
    }
  }
}

/** The workloads with a proxy whose labels change. */
function* relabelled(before: Side, after: Side): Iterable<readonly [was: Workload, is: Workload]> {
  const old = before.mesh.related(workloadsOfNamespace, before.object);
  const now = after.mesh.related(workloadsOfNamespace, after.object);
  if (old === now) return;
  for (const [was, is] of workloadPairs(old, now))
    if (was !== is && JSON.stringify(was.pod.labels) !== JSON.stringify(is.pod.labels))
      if (isProxy(is) || captureOf(is, after.object) === "sidecar") yield [was, is];
}
