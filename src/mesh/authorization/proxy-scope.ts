import type { Labels } from "../../kube/object.ts";
import { isProxy, isWaypointProxy, hasInjectedGateway, type Workload } from "../membership/workloads.ts";
import { selects } from "../objects/selectors.ts";
import type { AuthorizationPolicy, TargetRef } from "./policies.ts";

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

/** Whether an object of this scope counts for proxies of a type. */
export const isForType = ({ types }: ProxyScope, type: ProxyType): boolean =>
  types === undefined || types.includes(type);

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

/** Whether an object of the first scope applies to all proxies of the second one, whatever these are. */
export function covers(one: ProxyScope, other: ProxyScope): boolean {
  if (one.targetRefs.length + other.targetRefs.length === 0) return selects(one.labels, other.labels);
  const targets = new Set(one.targetRefs.map((ref) => JSON.stringify(ref)));
  return other.targetRefs.length > 0 && other.targetRefs.every((ref) => targets.has(JSON.stringify(ref)));
}
