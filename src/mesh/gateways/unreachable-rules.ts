import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, relation, type MeshView } from "../../view/view.ts";
import { hasClassOfIstio } from "../membership/gateways.ts";
import { nameOf } from "../traffic/virtual-service-clients.ts";
import { attachedRoutes } from "./attached-routes.ts";
import { converted, type ConvertedRoutes, dropped, type RouteOrigin } from "./converted-rules.ts";
import { routesOfListener } from "./merged-routes.ts";
import { type ListenerGateway, listenerGateways } from "./listener-gateways.ts";
import { hostnamesOf } from "./route-acceptance.ts";
import { gatewayOfListenerSet, listenersOfGateway } from "./listener-sets.ts";
import {
  gatewaysOfRoute,
  isOfRequests,
  type KubernetesRoute,
  listenerSetsOfRoute,
  mostHostnames,
  namespaceOfRoute,
} from "./routes.ts";

/** Rules by their position in `spec.rules`, each with one that takes all its requests. */
export type LostRules = ReadonlyMap<number, RouteOrigin>;

/** The rules of a route that get no request, because another rule of the route comes before them and takes them all. */
export function rulesLostWithin(route: KubernetesRoute, domain: string): LostRules {
  return lostBy(route, domain)?.lost ?? none;
}

/** The order of rules depends on nothing but the route. */
const lostWithin = new WeakMap<KubernetesRoute, { readonly lost: LostRules | undefined }>();

/** Undefined: istiod drops all rules of the route. */
function lostBy(route: KubernetesRoute, domain: string): { readonly lost: LostRules } | undefined {
  let known = lostWithin.get(route);
  if (known === undefined) {
    const isUsed = dropped(route) === undefined;
    const all = isUsed ? lostAmong([converted([route], { hosts: hostnamesOf(route), domain })]) : undefined;
    lostWithin.set(route, (known = { lost: all && (all.get(route) ?? none) }));
  }
  const { lost } = known;
  return lost && { lost };
}

const none: LostRules = new Map();

/** The rules that get no request where these are tried, by their objects: all matches of a rule are taken. Default: at all ports. */
export function lostAmong(all: readonly ConvertedRoutes[], port?: number): ReadonlyMap<KubernetesRoute, LostRules> {
  const origins = new Map(all.flatMap((one) => [...one.origins]));
  const found = new Map<KubernetesRoute, Map<number, RouteOrigin>>();
  const reached = new Map<KubernetesRoute, Set<number>>();
  const bound = all.map(({ virtualService }) => ({ virtualService, gateway: "" }));
  for (const { route, by } of routesOfListener(bound, { port })) {
    const origin = origins.get(route);
    if (origin === undefined) continue;
    const { object, i } = origin;
    const taking = by && origins.get(by.route);
    if (taking === undefined) reached.set(object, (reached.get(object) ?? new Set()).add(i));
    else found.set(object, (found.get(object) ?? new Map<number, RouteOrigin>()).set(i, taking));
  }
  for (const [object, lost] of found) for (const i of reached.get(object) ?? []) lost.delete(i);
  return found;
}

/** A hostname of a route at a Gateway or a ListenerSet that it names. */
export interface HostnamePlace {
  /** Of `rulesTaken`. */
  readonly key: string;
  /** `*`: the route has none. */
  readonly hostname: string;
  /** `Gateway namespace/name` or `ListenerSet namespace/name` */
  readonly parent: string;
}

export const placesOf = (route: KubernetesRoute, settings: MeshSettings): readonly HostnamePlace[] =>
  isOfRequests(route) && route.spec.hostnames.length <= mostHostnames
    ? [...gatewaysOfRoute.from.keys(route, settings)]
        .map((name) => ({ name, parent: `Gateway ${name}` }))
        .concat(
          [...listenerSetsOfRoute.from.keys(route, settings)].map((name) => ({
            name: `${ofSet}${name}`,
            parent: `ListenerSet ${name}`,
          })),
        )
        .flatMap(({ name, parent }) =>
          [...new Set(hostnamesOf(route))].map((hostname) => ({ key: `${name} ${hostname}`, hostname, parent })),
        )
    : [];
/** Before the name of a ListenerSet in a key, to tell it from a Gateway of the same name. */
const ofSet = "ListenerSet:";

const routeByGatewayAndHostname = index("KubernetesRoute", (route, settings) =>
  placesOf(route, settings).map(({ key }) => key),
);

/** A route and all routes that name one of its Gateways and have one of its hostnames, itself among them. */
export const routesBesideRoute = relation("routesBesideRoute", routeByGatewayAndHostname, routeByGatewayAndHostname);

/** The routes for one hostname at a listener, and what they lose to each other there. */
export interface RoutesOfHost {
  readonly listener: ListenerGateway;
  readonly routes: ReadonlySet<KubernetesRoute>;
  readonly lost: ReadonlyMap<KubernetesRoute, LostRules>;
}

/**
 * The routes for a hostname at each listener of a Gateway, or of a ListenerSet. istiod merges the rules of all routes with one hostname, and of equal ones
 * that of the oldest route comes first (Istio pilot/pkg/config/kube/gateway/route_collections.go mergeHTTPRoutes).
 */
export const routesAtListeners = fact(
  "routesAtListeners",
  "key",
  [routesBesideRoute, gatewaysOfRoute, namespaceOfRoute, listenerSetsOfRoute, gatewayOfListenerSet, listenersOfGateway],
  (key, mesh): readonly RoutesOfHost[] => {
    const { domain } = mesh.settings;
    const [name = ""] = key.split(" ", 1);
    const listeners = listenersOfParent(name, mesh);
    if (listeners.length === 0) return [];
    const routes = mesh.under(routesBesideRoute, [key]).filter((route) => lostBy(route, domain) !== undefined);
    const hostname = key.slice(name.length + 1);
    mesh.visited(routes.length);
    const compared = new Map<string, ReadonlyMap<KubernetesRoute, LostRules>>();
    const kept = listeners.filter(({ leftOut }) => leftOut === undefined);
    return kept.map((listener): RoutesOfHost => {
      const attached = attachedRoutes(listener, routes, mesh).filter((one) => one.hostname === hostname && one.isKnown);
      const own = [...new Set(attached.map(({ route }) => route))];
      const same = own.map((route) => `${route.originKind} ${nameOf(route)}`).join();
      const lost = compared.get(same) ?? lostTogether(own, { hosts: [hostname], domain });
      compared.set(same, lost);
      return { listener, routes: new Set(own), lost };
    });
  },
);

type ParentView = MeshView<
  typeof gatewaysOfRoute | typeof listenerSetsOfRoute | typeof gatewayOfListenerSet | typeof listenersOfGateway
>;

/** The listeners of a Gateway of Istio's classes, or those that a ListenerSet adds to one; `name` as in keys. */
function listenersOfParent(name: string, mesh: ParentView): readonly ListenerGateway[] {
  if (!name.startsWith(ofSet)) {
    const gateway = mesh
      .under(gatewaysOfRoute, [name])
      .find((one) => nameOf(one) === name && hasClassOfIstio(one, mesh.settings));
    return gateway === undefined ? [] : listenerGateways(gateway, mesh.settings);
  }
  const named = name.slice(ofSet.length);
  const set = mesh.under(listenerSetsOfRoute, [named]).find((one) => nameOf(one) === named);
  const [gateway] = set === undefined ? [] : mesh.related(gatewayOfListenerSet, set);
  if (gateway === undefined || !hasClassOfIstio(gateway, mesh.settings)) return [];
  return set === undefined ? [] : (mesh.get(listenersOfGateway, gateway).byOwner.get(set) ?? []);
}

function lostTogether(
  routes: readonly KubernetesRoute[],
  conversion: Parameters<typeof converted>[1],
): ReadonlyMap<KubernetesRoute, LostRules> {
  const [only, another] = routes;
  if (only === undefined) return new Map();
  if (another !== undefined) return lostAmong([converted(routes, conversion)]);
  return new Map([[only, rulesLostWithin(only, conversion.domain)]]);
}

/** The rules for a hostname at a Gateway that get no request at any of its listeners that have the route. */
export const rulesTaken = fact(
  "rulesTaken",
  "key",
  [routesAtListeners],
  (key, mesh): ReadonlyMap<KubernetesRoute, LostRules> => {
    const result = new Map<KubernetesRoute, LostRules>();
    for (const { routes, lost } of mesh.get(routesAtListeners, key))
      for (const route of routes) {
        const before = result.get(route);
        const here = lost.get(route) ?? none;
        result.set(route, before === undefined ? here : new Map([...before].filter(([i]) => here.has(i))));
      }
    return result;
  },
);
