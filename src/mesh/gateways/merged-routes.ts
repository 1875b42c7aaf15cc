import { matchAt, matchesOf, type RouteMatch, RouteOrder } from "../traffic/route-order.ts";
import type { HttpRoute, VirtualService } from "../traffic/virtual-services.ts";
import { selects } from "../objects/selectors.ts";

type HttpMatch = HttpRoute["match"][number];

/** A route of a gateway, in the order in which Envoy tries them; those that istiod leaves out come last. */
export interface GatewayRoute {
  readonly virtualService: VirtualService;
  /** Its position in `spec.http`. */
  readonly i: number;
  readonly route: HttpRoute;
  /** The route with those of its matches that are tried here, the others are tried at other places; of a delegate, what its route is there. */
  readonly part: HttpRoute;
  /** The delegate that has the route, and its position there. */
  readonly of?: Delegated | undefined;
  /** The route that takes all its requests; undefined: requests reach it. */
  readonly by: Taker | undefined;
}

interface Delegated {
  readonly delegate: VirtualService;
  readonly i: number;
}

/** A route of a delegate as it is in effect. */
export interface DelegatedPart extends Delegated {
  readonly route: HttpRoute;
}

type Taker = Omit<GatewayRoute, "by">;

/** A VirtualService at a gateway, `namespace/name`. */
interface Bound {
  readonly virtualService: VirtualService;
  readonly gateway: string;
}

/** What is known of the gateway. */
export interface Asked {
  /** Only routes of this port are asked for. Default: those of all ports. */
  readonly port?: number | undefined;
  /** Its proxies. Default: a match can be for any. */
  readonly proxies?: readonly Proxy[];
  /** Looks up the delegate of a route, of which it yields the routes in effect. Default: what delegates have is not looked up. */
  readonly delegated?: (route: HttpRoute, root: VirtualService) => Iterable<DelegatedPart>;
}

interface Proxy {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** One match of a route: istiod makes a route of Envoy of each. */
interface Placed extends Taker {
  readonly match: RouteMatch;
  /** The route of the same VirtualService that matches all requests before it, so that istiod leaves it out. */
  readonly behind: Placed | undefined;
  /** Whether a route of a delegate that is not looked up may match all requests before it. */
  readonly isUncertain: boolean;
}

/**
 * The routes of the VirtualServices, oldest first, that a gateway merges for one host, in the order of Envoy.
 */
export const routesInOrder = (
  gateway: string,
  bound: readonly VirtualService[],
  asked: Asked = {},
): readonly GatewayRoute[] =>
  routesOfListener(
    bound.map((virtualService) => ({ virtualService, gateway })),
    asked,
  );

/**
 * The same for VirtualServices at several gateways that share a listener. Each match of a route has its own place: those for all requests
 * come last (Istio pilot/pkg/networking/core/route/route.go BuildHTTPRoutesForVirtualService, SortVHostRoutes).
 */
export function routesOfListener(bound: readonly Bound[], asked: Asked = {}): readonly GatewayRoute[] {
  const all = bound.flatMap((one) => [...routesAt(one, asked)]);
  const tried = all.filter(({ behind }) => behind === undefined);
  const isLast = ({ part, match }: Placed) => !isDelegating(part) && match.isCatchAll;
  const inOrder = [...tried.filter((one) => !isLast(one)), ...tried.filter(isLast)];
  const order = new RouteOrder();
  const places = new Map<HttpRoute, Placed>();
  for (const [place, one] of inOrder.entries()) {
    if (!one.isUncertain) order.add(place, one.part, [one.match]);
    places.set(one.part, one);
  }
  const takers = new Map<Placed, Placed>();
  for (const [place, one] of inOrder.entries()) {
    const first = order.firstTaking(place, [one.match]);
    const taker = first && places.get(first);
    if (taker !== undefined) takers.set(one, taker);
  }
  const leftOut = all.filter((one) => one.behind !== undefined && !isOfRoute(one, one.behind));
  return [
    ...together(inOrder).map((some) => ({ ...shown(some), by: takerOf(some, takers) })),
    ...together(leftOut).map((some) => ({ ...shown(some), by: some[0].behind })),
  ];
}

/** Matches of one route that follow each other. */
function together(all: readonly Placed[]): readonly (readonly [Placed, ...Placed[]])[] {
  const found: [Placed, ...Placed[]][] = [];
  for (const one of all) {
    const last = found.at(-1);
    if (last !== undefined && isOfRoute(last[0], one)) last.push(one);
    else found.push([one]);
  }
  return found;
}

const isOfRoute = (a: Placed, b: Placed): boolean =>
  a.route === b.route && a.of?.delegate === b.of?.delegate && a.of?.i === b.of?.i;

function shown([first, ...more]: readonly [Placed, ...Placed[]]): Taker {
  const { virtualService, i, route, of } = first;
  const match = [first, ...more].flatMap(({ part }) => part.match);
  const isWhole = of === undefined && match.length === route.match.length;
  return { virtualService, i, route, part: isWhole ? route : { ...first.part, match }, of };
}

/** What takes the requests of all matches; of one that an earlier match of the same route takes, the other one decides. */
function takerOf(some: readonly Placed[], takers: ReadonlyMap<Placed, Placed>): Placed | undefined {
  const found = some.map((one) => takers.get(one));
  if (found.includes(undefined)) return undefined;
  return found.find((taker) => taker !== undefined && !some.some((one) => isOfRoute(one, taker)));
}

/** The routes that get no request at all, each with a route of another VirtualService that takes some, or all, of them. */
export function* takenByOthers(routes: readonly GatewayRoute[]): Iterable<GatewayRoute & { readonly by: Taker }> {
  const parts = Map.groupBy(routes, ({ route }) => route);
  for (const some of parts.values()) {
    if (some.some(({ by }) => by === undefined)) continue;
    const taken = some.find(({ virtualService, by }) => by !== undefined && by.virtualService !== virtualService);
    if (taken?.by !== undefined) yield { ...taken, by: taken.by };
  }
}

/** The routes that a gateway gets of a VirtualService, and those that istiod leaves out behind one that matches all requests. */
function* routesAt({ virtualService, gateway }: Bound, asked: Asked): Iterable<Placed> {
  let behind: Placed | undefined;
  let isUncertain = false;
  for (const [i, route] of virtualService.spec.http.entries())
    for (const { part, of } of partsOf(route, virtualService, asked)) {
      const match = matchOf(part, { virtualService, gateway }, asked);
      if (match === undefined) continue;
      const placed: Placed = { virtualService, i, route, part, of, match, behind, isUncertain };
      yield placed;
      if (isDelegating(part)) isUncertain ||= match.isCatchAll;
      else if (match.isCatchAll && match.conditions.length === 0) behind ??= placed;
    }
}

/** The match of a part at the gateway; undefined: it is not for this one. */
function matchOf(part: HttpRoute, { virtualService, gateway }: Bound, asked: Asked): RouteMatch | undefined {
  const here = atProxies(part, asked);
  const [match] = here === undefined ? [] : matchesOf(here, virtualService);
  return match && matchAt(gateway, match);
}

/** One for each match. The routes of a delegate that is looked up take the place of the route that delegates. */
function* partsOf(route: HttpRoute, root: VirtualService, { delegated }: Asked): Iterable<Pick<Placed, "part" | "of">> {
  if (!isDelegating(route) || delegated === undefined) {
    for (const part of partsByMatch(route)) yield { part, of: undefined };
    return;
  }
  for (const { delegate, i, route: own } of delegated(route, root))
    for (const part of partsByMatch(own)) yield { part, of: { delegate, i } };
}

const partsByMatch = (route: HttpRoute): readonly HttpRoute[] =>
  route.match.length < 2 ? [{ ...route }] : route.match.map((match) => ({ ...route, match: [match] }));

const isDelegating = ({ delegate }: HttpRoute): boolean => delegate !== undefined;

/** The part without the conditions that requests at the port and all proxies meet; undefined: none meets them. */
function atProxies(part: HttpRoute, { port, proxies = [] }: Asked): HttpRoute | undefined {
  const [match] = part.match;
  if (match === undefined) return part;
  if (port !== undefined && match.port && match.port !== port) return undefined;
  const ofSource = withoutMetSource(match, proxies);
  if (ofSource === undefined) return undefined;
  return { ...part, match: [port === undefined ? ofSource : { ...ofSource, port: undefined }] };
}

function withoutMetSource(match: HttpMatch, proxies: readonly Proxy[]): HttpMatch | undefined {
  // Where gateways are named, the source does not count (route.go sourceMatchHTTP).
  if (proxies.length === 0 || match.gateways.length > 0) return match;
  const meeting = proxies.filter((proxy) => isFrom(proxy, match));
  if (meeting.length === 0) return undefined;
  return meeting.length === proxies.length ? { ...match, sourceNamespace: undefined, sourceLabels: {} } : match;
}

const isFrom = ({ namespace, labels }: Proxy, { sourceNamespace, sourceLabels }: HttpMatch): boolean =>
  (!sourceNamespace || sourceNamespace === namespace) && selects(sourceLabels, labels);
