import { keyOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, type MeshView, type Reads } from "../../view/view.ts";
import { captureOf } from "../membership/capture.ts";
import {
  gatewaysOfNamespace,
  isDeployedByHand,
  type KubernetesGateway,
  labelsOfGatewayPods,
} from "../membership/gateways.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import {
  hasInjectedGateway,
  isProxy,
  isWaypointProxy,
  type Workload,
  workloadPairs,
  workloadsOfNamespace,
} from "../membership/workloads.ts";
import { waypointClass } from "../objects/labels.ts";
import { Labelled } from "../objects/labelled.ts";
import { selects } from "../objects/selectors.ts";
import { attachesToGateway, type AuthorizationPolicy, type GatewayTarget, type TargetRef } from "./policies.ts";

// EnvoyFilters, WasmPlugins, Telemetries and others are attached to proxies as policies are: to sidecars and gateways by
// their labels, to gateways and waypoints by targetRefs (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy).

type Labels = Readonly<Record<string, string>>;

/** The proxies that an object is for. Without labels and targets, all of its namespace, or of the mesh. */
export interface ProxyScope {
  readonly labels: Labels;
  readonly targetRefs: readonly TargetRef[];
  /** The namespace of the object, in which its targets are; undefined: it has none. */
  readonly namespace?: string;
  /** Whether it is read when pods are created, so that labels select waypoints, too. */
  readonly isOfPods?: true;
  /** The types of proxies that it counts for; undefined: for all. */
  readonly types?: readonly ProxyType[];
}

/** What a proxy is for istiod. */
export type ProxyType = "sidecar" | "gateway" | "waypoint";
const allTypes: readonly ProxyType[] = ["sidecar", "gateway", "waypoint"];

/** What the proxy of a workload is, if it has one. */
export function proxyTypeOf(workload: Workload): ProxyType {
  if (!isProxy(workload)) return hasInjectedGateway(workload) ? "gateway" : "sidecar";
  return isWaypointProxy(workload) ? "waypoint" : "gateway";
}

const isForType = ({ types }: ProxyScope, type: ProxyType): boolean => types === undefined || types.includes(type);

/**
 * The scope of an object of a namespace with a selector and targetRefs, of which `targetRef` is the older form; newer kinds do not have
 * it.
 */
export const policyScope = (
  {
    selector,
    targetRef,
    targetRefs,
  }: Pick<AuthorizationPolicy["spec"], "selector" | "targetRefs"> & {
    readonly targetRef?: AuthorizationPolicy["spec"]["targetRef"];
  },
  namespace: string,
): ProxyScope =>
  scopeIn(
    namespace,
    selector?.matchLabels,
    targetRefs.length === 0 && targetRef !== undefined ? [targetRef] : targetRefs,
  );

/** The scope of an object of a namespace. Labels are not read where it has targets. */
export const scopeIn = (
  namespace: string,
  labels: Labels | undefined,
  targetRefs: readonly TargetRef[],
): ProxyScope => ({
  labels: labels ?? noLabels,
  targetRefs,
  ...(targetRefs.length === 0 ? {} : { namespace }),
});
export const noLabels: Labels = Object.freeze({});

/** A scope of objects that have an effect, and for which types of proxies one of them has it. */
interface EffectScope {
  readonly scope: ProxyScope;
  readonly types: Set<ProxyType>;
}

/** The scopes of the objects that have an effect, by the name of the effect. */
export class EffectScopes {
  readonly #scopes = new Map<string, Map<string, EffectScope>>();

  add(effect: string, scope: ProxyScope): void {
    let ofEffect = this.#scopes.get(effect);
    if (ofEffect === undefined) this.#scopes.set(effect, (ofEffect = new Map()));
    const key = placeOf(scope);
    let known = ofEffect.get(key);
    if (known === undefined) ofEffect.set(key, (known = { scope, types: new Set() }));
    for (const type of scope.types ?? allTypes) known.types.add(type);
  }

  /** Whether objects for all proxies, or for the same ones, have this effect. No waypoint is among all. */
  has(effect: string, scope: ProxyScope, isAtWaypoint: boolean): boolean {
    return this.without(effect, scope, isAtWaypoint).length === 0;
  }

  /** The types of the proxies of a scope for which they do not have it. */
  without(effect: string, scope: ProxyScope, isAtWaypoint: boolean): readonly ProxyType[] {
    const scopes = this.#scopes.get(effect);
    const found = [isAtWaypoint ? undefined : scopes?.get(everywhere), scopes?.get(placeOf(scope))];
    return (scope.types ?? allTypes).filter((type) => !found.some((one) => one?.types.has(type) === true));
  }

  /** Whether an object that selects these labels has this effect. */
  selects(effect: string, labels: Labels): boolean {
    const scopes = [...(this.#scopes.get(effect)?.values() ?? [])];
    return scopes.some(({ scope }) => scope.targetRefs.length === 0 && selects(scope.labels, labels));
  }
}

/** Where an object counts, whatever the types of the proxies are. */
const placeOf = (scope: ProxyScope): string => JSON.stringify({ ...scope, types: undefined });
const everywhere = placeOf({ labels: noLabels, targetRefs: [] });

/** In messages: the proxies of a namespace that an object is for, or the waypoints of the object's own namespace that serve it. */
export const proxiesFor = (
  { metadata }: Pick<AnyObject, "metadata">,
  namespace: string,
  { rootNamespace }: MeshSettings,
): string =>
  [namespace, rootNamespace].includes(metadata.namespace)
    ? `proxies of namespace ${namespace}`
    : `waypoints of namespace ${metadata.namespace} that serve namespace ${namespace}`;

/** The namespaces whose objects apply to the proxies of a namespace: itself, then the root namespace. */
export function namespacesInForce(namespace: Namespace, mesh: MeshView<typeof rootOfNamespace>): readonly Namespace[] {
  const others = mesh
    .related(rootOfNamespace, namespace)
    .filter(({ metadata }) => metadata.name !== namespace.metadata.name);
  return [namespace, ...others];
}

/** Whether an object applies to proxies of a namespace for certain or possibly; undefined: it does not. */
export type ProxyReach = "sure" | "possible" | undefined;

/** Why an object that possibly applies only warns, as the rest of a sentence that begins with "because". */
export const possibleReach = "it is not known whether some proxy has it";

type Reaches = Map<readonly Workload[], ProxyReach>;

/** The waypoints that serve a namespace, as far as they are not among its own gateways. */
export interface ServedBy {
  /** Those of other namespaces. */
  readonly gateways: readonly GatewayTarget[];
  /** Whether a Service or a ServiceEntry of the namespace has a waypoint, so that what targets it applies there. */
  reachOf(target: "Service" | "ServiceEntry", name: string): ProxyReach;
}

/** The sidecars, gateways and waypoints of a namespace. Objects with the same selector share a result. */
export class Proxies {
  readonly #namespace: Namespace;
  readonly #workloads: Labelled<Workload>;
  readonly #gateways: readonly KubernetesGateway[];
  readonly #mesh: MeshView;
  readonly #servedBy: ServedBy | undefined;
  /** By how it is selected, by what is selected, and by what was. */
  readonly #reach = new Map<string, Map<readonly Workload[], Reaches>>();

  constructor(
    namespace: Namespace,
    mesh: MeshView<typeof gatewaysOfNamespace | typeof workloadsOfNamespace>,
    servedBy?: ServedBy,
  ) {
    this.#namespace = namespace;
    this.#workloads = new Labelled(mesh.related(workloadsOfNamespace, namespace), ({ pod }) => pod.labels);
    this.#gateways = mesh.related(gatewaysOfNamespace, namespace);
    this.#mesh = mesh;
    this.#servedBy = servedBy;
  }

  /**
   * Whether an object of this scope applies to some proxy, of those to which it did not apply with its old scope if that is
   * given. ztunnel is none.
   */
  reachOf(object: AnyObject, scope: ProxyScope, old?: ProxyScope): ProxyReach {
    if (scope.types?.length === 0 || (old !== undefined && covers(old, scope))) return undefined;
    return scope.targetRefs.length === 0 ? this.#reachOfLabels(scope, old) : this.#reachOfTargets(object, scope, old);
  }

  /** Whether some target is, or may be, at a waypoint. Labels select none (policyattachment.go ShouldAttachPolicy). */
  isAtWaypoint({ targetRefs, namespace }: ProxyScope): boolean {
    const isHere = namespace === this.#namespace.metadata.name;
    return targetRefs.some(({ kind, name }) => {
      const gateway =
        isHere && kind === "Gateway" ? this.#gateways.find(({ metadata }) => metadata.name === name) : undefined;
      return gateway === undefined || gateway.spec.gatewayClassName === waypointClass;
    });
  }

  #reachOfLabels(scope: ProxyScope, old: ProxyScope | undefined): ProxyReach {
    const was = old === undefined || old.targetRefs.length > 0 ? undefined : old;
    const selected = this.#workloads.selected(scope.labels);
    const known = was === undefined ? none : this.#workloads.selected(was.labels);
    const how = `${scope.isOfPods === true} ${scope.types?.join() ?? ""}`;
    const reach = this.#reach.get(how) ?? new Map<readonly Workload[], Reaches>();
    this.#reach.set(how, reach);
    const bySelected: Reaches = reach.get(selected) ?? new Map();
    if (!bySelected.has(known)) bySelected.set(known, this.#look(selected, new Set(known), scope));
    reach.set(selected, bySelected);
    return this.#selectsGateway(scope, was) ? "sure" : bySelected.get(known);
  }

  /** Whether the labels that istiod gives the pods of a Gateway are selected, also if these pods are not known. */
  #selectsGateway(scope: ProxyScope, old: ProxyScope | undefined): boolean {
    return this.#gateways.some((gateway) => {
      const isWaypoint = gateway.spec.gatewayClassName === waypointClass;
      if (isDeployedByHand(gateway) || (isWaypoint && scope.isOfPods !== true)) return false;
      const labels = labelsOfGatewayPods(gateway);
      const isNew = selects(scope.labels, labels) && (old === undefined || !selects(old.labels, labels));
      return isNew && isForType(scope, isWaypoint ? "waypoint" : "gateway");
    });
  }

  #look(workloads: readonly Workload[], known: ReadonlySet<Workload>, scope: ProxyScope): ProxyReach {
    let mayBe = !this.#mesh.knowsAll("Workload");
    for (const workload of workloads) {
      const type = proxyTypeOf(workload);
      if (known.has(workload) || !isForType(scope, type)) continue;
      if (type === "waypoint" && scope.isOfPods !== true) continue;
      const capture = type === "sidecar" ? captureOf(workload, this.#namespace, this.#mesh.settings) : "sidecar";
      if (capture === "sidecar") return "sure";
      mayBe ||= capture === "unknown";
    }
    return mayBe ? "possible" : undefined;
  }

  #reachOfTargets(object: AnyObject, scope: ProxyScope, old: ProxyScope | undefined): ProxyReach {
    const { targetRefs } = scope;
    // These functions accept policies, and need only where the object is and what it selects or targets.
    const asPolicy = ({ labels, ...refs }: ProxyScope) =>
      ({
        metadata: object.metadata,
        spec: { ...refs, selector: { matchLabels: labels } },
      }) as unknown as AuthorizationPolicy;
    const namespace = this.#namespace.metadata.name;
    const [now, before] = [asPolicy({ labels: noLabels, targetRefs }), old && asPolicy(old)];
    const own = this.#gateways.map(({ metadata: { name }, spec: { gatewayClassName } }) => ({
      ...{ name, namespace, isWaypoint: gatewayClassName === waypointClass },
    }));
    const isAttached = [...own, ...(this.#servedBy?.gateways ?? [])].some((gateway) => {
      const attaches = (policy: AuthorizationPolicy) => attachesToGateway(policy, gateway, this.#mesh.settings);
      if (!isForType(scope, gateway.isWaypoint ? "waypoint" : "gateway")) return false;
      return attaches(now) && (before === undefined || !attaches(before));
    });
    if (isAttached) return "sure";
    const atServices = this.#reachAtServices(object, targetRefs, old?.targetRefs ?? []);
    return atServices ?? (this.#mesh.knowsAll("KubernetesGateway") ? undefined : "possible");
  }

  /**
   * What targets a Service or a ServiceEntry applies at its waypoint, except EnvoyFilters, which istiod looks for without any Service
   * (push_context.go getMatchedEnvoyFilters).
   */
  #reachAtServices(
    { kind, metadata }: AnyObject,
    targetRefs: readonly TargetRef[],
    old: readonly TargetRef[],
  ): ProxyReach {
    if (kind === "EnvoyFilter" || metadata.namespace !== this.#namespace.metadata.name) return undefined;
    const known = new Set(old.map((ref) => JSON.stringify(ref)));
    const reaches = targetRefs.map((ref): ProxyReach => {
      if (known.has(JSON.stringify(ref)) || !targetsServices(ref)) return undefined;
      return this.#servedBy?.reachOf(ref.kind, ref.name);
    });
    return reaches.includes("sure") ? "sure" : reaches.find((reach) => reach !== undefined);
  }
}

const groupsOfServices = { Service: ["", "core"], ServiceEntry: ["networking.istio.io"] } as const;

const targetsServices = (ref: TargetRef): ref is TargetRef & { readonly kind: "Service" | "ServiceEntry" } =>
  (ref.kind === "Service" || ref.kind === "ServiceEntry") &&
  (groupsOfServices[ref.kind] as readonly string[]).includes(ref.group);

const none: readonly Workload[] = [];

/** Whether an object of the first scope applies to all proxies of the second one, whatever these are. */
function covers(one: ProxyScope, other: ProxyScope): boolean {
  if (one.targetRefs.length + other.targetRefs.length === 0) return selects(one.labels, other.labels);
  const targets = new Set(one.targetRefs.map((ref) => JSON.stringify(ref)));
  return other.targetRefs.length > 0 && other.targetRefs.every((ref) => targets.has(JSON.stringify(ref)));
}

/** The proxies of a namespace that objects can select or target. */
export const proxiesOfNamespace = fact(
  "proxiesOfNamespace",
  "Namespace",
  [gatewaysOfNamespace, workloadsOfNamespace],
  (namespace, mesh) => new Proxies(namespace, mesh),
);

/** A namespace on one side of a change. */
export interface ComparedSide<in R extends Reads> {
  readonly object: Namespace;
  readonly mesh: MeshView<R>;
}
type Side = ComparedSide<typeof workloadsOfNamespace>;

/** An object after a change, and as it was before. */
export interface ChangedObject<T> {
  readonly object: T;
  readonly was: T | undefined;
}
const compared = new KeptIn<
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

/** The fields of a spec that say for which proxies an object is. */
const scopeFields = new Set(["selector", "workloadSelector", "targetRef", "targetRefs"]);
const withoutScope = ({ spec }: { readonly spec: unknown }): string =>
  JSON.stringify(Object.entries(spec as object).filter(([field]) => !scopeFields.has(field)));

/**
 * Whether a changed object does something to proxies of a namespace that it did not do to them before. One that only selects
 * or targets others does so to these alone.
 */
export function reachOfChange<T extends AnyObject & { readonly spec: unknown }>(
  proxies: Proxies,
  { object, was }: ChangedObject<T>,
  scopeOf: (object: T) => ProxyScope,
): ProxyReach {
  const isMoved = was !== undefined && withoutScope(was) === withoutScope(object);
  return proxies.reachOf(object, scopeOf(object), isMoved ? scopeOf(was) : undefined);
}

/** A workload whose labels change, so that an object selects its proxy that did not before. */
export interface NewlySelected<T> {
  readonly workload: Workload;
  /** The workload with its old labels. */
  readonly was: Workload;
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
      yield* selected.map((object) => ({ workload: is, was, object }));
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
      if ((isProxy(is) && !isWaypointProxy(is)) || captureOf(is, after.object, after.mesh.settings) === "sidecar")
        yield [was, is];
}
