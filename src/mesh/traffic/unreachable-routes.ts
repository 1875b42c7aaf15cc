import { byId } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import { delegatedRoutes, type Delegating, delegatingReads, delegatingTo, mostDelegating } from "./delegate-routes.ts";
import { type UnreachableRoute, unreachableRoutes } from "./route-order.ts";
import { isDelegate } from "./virtual-service-clients.ts";
import type { Traffic, VirtualService } from "./virtual-services.ts";

/** With the VirtualServices that decide it, besides its own: those that delegate to it. */
export interface UnreachableHttpRoute extends UnreachableRoute {
  readonly roots: readonly VirtualService[];
}

/** What `unreachableHttpRoutes` reads. */
export const unreachableReads = delegatingReads;
type View = MeshView<(typeof unreachableReads)[number]>;

/**
 * The http routes of a VirtualService that no request reaches. Those of a delegate are compared as they are in effect, because istiod
 * leaves out a route that is wider than the one that delegates, and the routes behind it get the requests (Istio
 * pilot/pkg/model/virtualservice.go MergeHTTPRoutes). Without a VirtualService that delegates to it, they are compared as they are
 * written.
 */
export function* unreachableHttpRoutes(virtualService: VirtualService, mesh: View): Iterable<UnreachableHttpRoute> {
  if (virtualService.spec.http.length < 2) return;
  const delegating = isDelegate(virtualService) ? delegatingTo(virtualService, mesh) : [];
  if (delegating.length === 0) for (const one of unreachableRoutes(virtualService)) yield { ...one, roots: [] };
  if (delegating.length === 0 || delegating.length > mostDelegating) return;
  const roots = [...new Set(delegating.map(({ root }) => root))].sort(byId);
  for (const one of unreachableThroughAll(virtualService, delegating, mesh)) yield { ...one, roots };
}

/** The positions of the http routes that no request reaches. */
const unreached = new WeakMap<VirtualService, ReadonlySet<unknown>>();

/**
 * Why what is wrong with a destination only warns, as the rest of a sentence that begins with "because"; undefined: requests reach it.
 * The routes of a delegate are not compared, because that depends on those that delegate to it.
 */
export function doubtOfUse({ protocol, at, isUncertain }: Traffic, virtualService: VirtualService): string | undefined {
  if (isUncertain) return "perhaps no request reaches this route";
  if (protocol !== "http" || isDelegate(virtualService)) return undefined;
  let positions = unreached.get(virtualService);
  if (positions === undefined)
    unreached.set(virtualService, (positions = new Set([...unreachableRoutes(virtualService)].map(({ i }) => i))));
  return positions.has(at[2]) ? "no request reaches this route" : undefined;
}

/** The routes that are in effect through some route that delegates, and get no request through any of them. */
function* unreachableThroughAll(
  delegate: VirtualService,
  delegating: readonly Delegating[],
  mesh: View,
): Iterable<UnreachableRoute> {
  const takers = new Map<number, number>();
  const reached = new Set<number>();
  for (const one of delegating) {
    mesh.visited(delegate.spec.http.length);
    for (const [index, taker] of takersThrough(one, delegate, mesh))
      if (taker === undefined) reached.add(index);
      else if (!takers.has(index)) takers.set(index, taker);
  }
  for (const [i, route] of delegate.spec.http.entries()) {
    const by = delegate.spec.http[takers.get(i) ?? -1];
    if (by !== undefined && !reached.has(i)) yield { i, route, by };
  }
}

/** For each route of a delegate that is in effect through one that delegates: the earlier one that takes all its requests. */
export function takersThrough(
  { root, route }: Delegating,
  delegate: VirtualService,
  { settings }: Pick<View, "settings">,
): ReadonlyMap<number, number | undefined> {
  const inEffect = delegatedRoutes(root, route, delegate, settings);
  const places = new Map(inEffect.map((one) => [one.route, one.index]));
  const takers = new Map<number, number | undefined>(inEffect.map(({ index }) => [index, undefined]));
  const merged = { ...root, spec: { ...root.spec, http: [...places.keys()] } };
  for (const { route: taken, by } of unreachableRoutes(merged)) takers.set(places.get(taken) ?? -1, places.get(by));
  return takers;
}
