import { fact, index, type Mesh, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { everyNamespace, visibleTo } from "./export-to.ts";
import { matchAt, matchesOf, type RouteMatch, RouteOrder } from "./route-order.ts";
import { mostSpecificFirst, mostSpecificHost } from "./hosts.ts";
import { hostsOf, virtualServicesOfHost } from "./virtual-service-choices.ts";
import { fullGatewayName, gatewaysOf, isDelegate, meshGateway } from "./virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "./virtual-services.ts";

const hostsAtGateways = index("VirtualService", (virtualService, settings) => {
  const isRead = isServed(virtualService, settings) && !isDelegate(virtualService);
  return isRead && gatewaysAlone(virtualService).length > 0 ? new Set(hostsOf(virtualService, settings)) : [];
});

/** A VirtualService and all VirtualServices at gateways, itself among them, that have one of its hosts, exactly as written. */
export const virtualServicesOfGatewayHost = relation("virtualServicesOfGatewayHost", hostsAtGateways, hostsAtGateways);

const gatewaysAlone = (virtualService: VirtualService): readonly string[] =>
  [...gatewaysOf(virtualService)].filter((gateway) => gateway !== meshGateway);

/** A route of a VirtualService that no request reaches at a gateway, because another VirtualService takes them. */
export interface TakenRoute {
  readonly i: number;
  readonly route: HttpRoute;
  readonly gateway: string;
  readonly by: VirtualService;
}

/**
 * The routes of several VirtualServices of one host at gateways. A gateway merges them: the routes of the oldest come first,
 * and behind all others those that match every request (Istio pilot/pkg/networking/core/gateway.go
 * buildGatewayHTTPRouteConfig, route/route.go SortVHostRoutes). The result is by VirtualService and position. Those that are not
 * exported to all namespaces are left out, because which pods serve a gateway may not be known.
 */
export const takenAtGateways = fact("takenAtGateways", "key", [virtualServicesOfGatewayHost], (host, mesh): Taken => {
  const all = mesh
    .under(virtualServicesOfGatewayHost, [host])
    .filter(({ metadata, spec }) =>
      visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo).has(everyNamespace),
    )
    .sort(oldestFirst);
  const [first] = all;
  if (first === undefined || all.length < 2) return nothing;
  const known = byFirst.get(first) ?? [];
  byFirst.set(first, known);
  let found = known.find(({ among }) => among.length === all.length && among.every((one, i) => one === all[i]));
  if (found === undefined) {
    mesh.visited(all.reduce((routes, { spec }) => routes + spec.http.length, 0));
    known.push((found = { among: all, taken: takenAmong(all) }));
  }
  return found.taken;
});

type Taken = ReadonlyMap<VirtualService, ReadonlyMap<number, TakenRoute>>;
const nothing: Taken = new Map();

/** Hosts of the same VirtualServices have the same result. */
const byFirst = new WeakMap<VirtualService, { readonly among: readonly VirtualService[]; readonly taken: Taken }[]>();

function takenAmong(all: readonly VirtualService[]): Taken {
  const taken = new Map<VirtualService, Map<number, TakenRoute>>();
  for (const [gateway, bound] of gatewaysApart(all))
    for (const [virtualService, one] of takenAt(gateway, bound)) {
      const there = taken.get(virtualService) ?? new Map<number, TakenRoute>();
      taken.set(virtualService, there);
      if (!there.has(one.i)) there.set(one.i, one);
    }
  return taken;
}

/** Gateways with the same VirtualServices have the same routes, unless a match names one: of such a group, the first. */
function gatewaysApart(all: readonly VirtualService[]): ReadonlyMap<string, readonly VirtualService[]> {
  const bound = new Map<string, VirtualService[]>();
  for (const virtualService of all)
    for (const gateway of gatewaysAlone(virtualService)) {
      const there = bound.get(gateway);
      if (there === undefined) bound.set(gateway, [virtualService]);
      else there.push(virtualService);
    }
  const named = new Set(all.flatMap(gatewaysInMatches));
  const places = new Map(all.map((virtualService, i) => [virtualService, i]));
  const apart = new Map<string, string>();
  for (const [gateway, some] of bound) {
    if (some.length < 2) continue;
    const key = named.has(gateway) ? `gateway ${gateway}` : some.map((one) => places.get(one)).join();
    if (!apart.has(key)) apart.set(key, gateway);
  }
  return new Map([...apart.values()].map((gateway) => [gateway, bound.get(gateway) ?? []]));
}

const gatewaysInMatches = ({ metadata, spec }: VirtualService): readonly string[] =>
  spec.http
    .flatMap(({ match }) => match.flatMap(({ gateways }) => gateways))
    .map((gateway) => fullGatewayName(gateway, metadata.namespace));

interface Placed {
  readonly virtualService: VirtualService;
  readonly i: number;
  readonly route: HttpRoute;
  readonly matches: readonly RouteMatch[];
}

function* takenAt(gateway: string, bound: readonly VirtualService[]): Iterable<readonly [VirtualService, TakenRoute]> {
  // What an earlier route of the same VirtualService takes is reported without gateways.
  for (const { virtualService, i, route, by } of routesInOrder(gateway, bound))
    if (by !== undefined && by.virtualService !== virtualService)
      yield [virtualService, { i, route, gateway, by: by.virtualService }];
}

/** A route of a gateway, in the order in which Envoy tries them. */
export interface GatewayRoute {
  readonly virtualService: VirtualService;
  /** Its position in `spec.http`. */
  readonly i: number;
  readonly route: HttpRoute;
  /** The route that takes all its requests; undefined: requests reach it. */
  readonly by: Omit<GatewayRoute, "by"> | undefined;
}

/** The routes of the VirtualServices, oldest first, that a gateway merges for one host, in the order of Envoy. */
export function routesInOrder(gateway: string, bound: readonly VirtualService[]): readonly GatewayRoute[] {
  const routes = bound.flatMap((virtualService) => [...routesAt(gateway, virtualService)]);
  // A route that has a match for all requests counts as such: its other matches come first and are left out.
  const isLast = ({ matches }: Placed) => matches.some(({ isCatchAll }) => isCatchAll);
  const inOrder = [...routes.filter((one) => !isLast(one)), ...routes.filter(isLast)];
  const order = new RouteOrder();
  const places = new Map<HttpRoute, Placed>();
  for (const [place, one] of inOrder.entries()) {
    order.add(place, one.route, one.matches);
    places.set(one.route, one);
  }
  return inOrder.map(({ virtualService, i, route, matches }, place) => {
    const first = order.firstTaking(place, matches);
    return { virtualService, i, route, by: first && places.get(first) };
  });
}

/** The routes that a gateway gets of a VirtualService, up to the first that matches all requests. */
function* routesAt(gateway: string, virtualService: VirtualService): Iterable<Placed> {
  for (const [i, route] of virtualService.spec.http.entries()) {
    const matches = matchesOf(route, virtualService).flatMap((match) => matchAt(gateway, match) ?? []);
    if (matches.length === 0) continue;
    yield { virtualService, i, route, matches };
    if (matches.some(({ isCatchAll, conditions }) => isCatchAll && conditions.length === 0)) return;
  }
}

/** The gateways at which VirtualServices for a host are merged, each with those for its most specific host, oldest first. */
export function gatewaysOfHost(host: string, mesh: Mesh): ReadonlyMap<string, readonly VirtualService[]> {
  const { settings } = mesh;
  const best = new Map<string, { host: string; readonly bound: VirtualService[] }>();
  const all = virtualServicesOfHost(host, mesh).filter((one) => isServed(one, settings) && one.spec.http.length > 0);
  for (const virtualService of all.toSorted(oldestFirst)) {
    const own = mostSpecificHost(host, hostsOf(virtualService, settings));
    if (own === undefined) continue;
    for (const gateway of gatewaysAlone(virtualService)) {
      const there = best.get(gateway);
      if (there === undefined || mostSpecificFirst(own, there.host) < 0)
        best.set(gateway, { host: own, bound: [virtualService] });
      else if (own === there.host) there.bound.push(virtualService);
    }
  }
  return new Map([...best].sort(([a], [b]) => (a < b ? -1 : 1)).map(([gateway, { bound }]) => [gateway, bound]));
}
