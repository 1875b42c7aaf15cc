import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, relation } from "../../view/view.ts";
import { hasClassOfIstio, type KubernetesGateway } from "../membership/gateways.ts";
import { nameOf } from "../traffic/virtual-service-clients.ts";
import { attachedRoutes } from "./attached-routes.ts";
import { converted, type ConvertedRoutes, dropped, type RouteOrigin } from "./converted-rules.ts";
import { routesOfListener } from "./gateway-routes.ts";
import { type ListenerGateway, listenerGateways } from "./listener-gateways.ts";
import { hostnamesOf } from "./route-acceptance.ts";
import { gatewaysOfRoute, isOfRequests, type KubernetesRoute, mostHostnames, namespaceOfRoute } from "./routes.ts";

/** Rules by their position in `spec.rules`, each with one that takes all its requests. */
export type LostRules = ReadonlyMap<number, RouteOrigin>;

/** The rules of a route that get no request, because another rule of the route comes before them and takes them all. */
export function rulesLostWithin(route: KubernetesRoute, domain: string): LostRules {
  if (dropped(route) !== undefined) return none;
  return lostAmong([converted([route], { hosts: hostnamesOf(route), domain })]).get(route) ?? none;
}

const none: LostRules = new Map();

/** The rules that get no request where these are tried, by their objects: all matches of a rule are taken. */
function lostAmong(all: readonly ConvertedRoutes[]): ReadonlyMap<KubernetesRoute, LostRules> {
  const origins = new Map(all.flatMap((one) => [...one.origins]));
  const found = new Map<KubernetesRoute, Map<number, RouteOrigin>>();
  const reached = new Map<KubernetesRoute, Set<number>>();
  for (const { route, by } of routesOfListener(all.map(({ virtualService }) => ({ virtualService, gateway: "" })))) {
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

/** A hostname of a route at a Gateway that it names. */
export interface HostnamePlace {
  /** Of `rulesTaken`. */
  readonly key: string;
  /** `*`: the route has none. */
  readonly hostname: string;
  /** `namespace/name` */
  readonly gateway: string;
}

export const placesOf = (route: KubernetesRoute, settings: MeshSettings): readonly HostnamePlace[] =>
  isOfRequests(route) && route.spec.hostnames.length <= mostHostnames
    ? [...gatewaysOfRoute.from.keys(route, settings)].flatMap((gateway) =>
        [...new Set(hostnamesOf(route))].map((hostname) => ({ key: `${gateway} ${hostname}`, hostname, gateway })),
      )
    : [];

const routeByGatewayAndHostname = index("KubernetesRoute", (route, settings) =>
  placesOf(route, settings).map(({ key }) => key),
);

/** A route and all routes that name one of its Gateways and have one of its hostnames, itself among them. */
export const routesBesideRoute = relation("routesBesideRoute", routeByGatewayAndHostname, routeByGatewayAndHostname);

/**
 * The rules for a hostname at a Gateway that get no request, because another route with the hostname takes them at every listener
 * that has both: istiod merges the rules of all routes with one hostname, and of equal ones that of the oldest route comes first
 * (Istio pilot/pkg/config/kube/gateway/route_collections.go mergeHTTPRoutes).
 */
export const rulesTaken = fact(
  "rulesTaken",
  "key",
  [routesBesideRoute, gatewaysOfRoute, namespaceOfRoute],
  (key, mesh): ReadonlyMap<KubernetesRoute, LostRules> => {
    const routes = mesh.under(routesBesideRoute, [key]).filter((route) => dropped(route) === undefined);
    if (routes.length < 2) return new Map();
    const [name = ""] = key.split(" ", 1);
    const gateway = mesh.under(gatewaysOfRoute, [name]).find((one) => nameOf(one) === name && hasClassOfIstio(one));
    if (gateway === undefined) return new Map();
    const hostname = key.slice(name.length + 1);
    mesh.visited(routes.length);
    const attached = attachedAt(gateway, (listener) =>
      attachedRoutes(listener, routes, mesh).flatMap((one) =>
        one.hostname === hostname && one.isKnown ? one.route : [],
      ),
    );
    return lostEverywhere(attached, { hosts: [hostname], domain: mesh.settings.domain });
  },
);

function attachedAt(
  gateway: KubernetesGateway,
  routesOf: (listener: ListenerGateway) => readonly KubernetesRoute[],
): readonly (readonly KubernetesRoute[])[] {
  const kept = listenerGateways(gateway).filter(({ leftOut }) => leftOut === undefined);
  return kept.map((listener) => [...new Set(routesOf(listener))]);
}

function lostEverywhere(
  listeners: readonly (readonly KubernetesRoute[])[],
  conversion: Parameters<typeof converted>[1],
): ReadonlyMap<KubernetesRoute, LostRules> {
  const known = new Map<string, ReadonlyMap<KubernetesRoute, LostRules>>();
  const result = new Map<KubernetesRoute, LostRules>();
  for (const routes of listeners) {
    const same = routes.map((route) => `${route.originKind} ${nameOf(route)}`).join();
    const lost = known.get(same) ?? (routes.length < 2 ? new Map() : lostAmong([converted(routes, conversion)]));
    known.set(same, lost);
    for (const route of routes) {
      const before = result.get(route);
      const here = lost.get(route) ?? none;
      result.set(route, before === undefined ? here : new Map([...before].filter(([i]) => here.has(i))));
    }
  }
  return result;
}
