import { byId, idOf } from "../../kube/identity.ts";
import { index, type Mesh } from "../../view/view.ts";
import { isForIngress, type KubernetesGateway } from "../membership/gateways.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { coveringHosts, covers, hostKey, mostSpecificFirst } from "../traffic/hosts.ts";
import { nameOf } from "../traffic/virtual-service-clients.ts";
import type { HttpRoute, WeightedDestination } from "../traffic/virtual-services.ts";
import type { ConvertedRoutes, RouteOrigin } from "./converted-rules.ts";
import { routesOfListener } from "./merged-routes.ts";
import { type HostnameRoutes, routesByHostname, type RoutesAtListener } from "./hostname-routes.ts";
import { grantsOf, missingCertificate } from "./listener-certificates.ts";
import type { ListenerGateway } from "./listener-gateways.ts";
import { canHaveListenerSets, listenersOfGateway } from "./listener-sets.ts";
import { type KubernetesRoute, mostHostnames } from "./routes.ts";
import { routesNaming } from "./routes-at-gateway.ts";

/** A rule at a listener, for one of its matches. */
export interface ListedRule {
  readonly origin: RouteOrigin;
  /** What istiod makes of it. */
  readonly route: HttpRoute;
  /** Why requests to a destination reach nothing, where that is decided before the host is looked up. */
  readonly refused: ReadonlyMap<WeightedDestination, string>;
  /** The rule that takes all its requests; undefined: requests reach it. */
  readonly by: RouteOrigin | undefined;
}

/** The rules for one host at one port of a Gateway of the Gateway API. */
export interface RuleTable {
  readonly port: number;
  /** The host of requests; a wildcard: all hosts under it that have no table of their own. */
  readonly host: string;
  /** In the order in which Envoy tries them; those that istiod leaves out come last. */
  readonly rules: readonly ListedRule[];
}

/** What becomes of the HTTPRoutes and GRPCRoutes at a Gateway. */
export interface RuleTables {
  readonly tables: readonly RuleTable[];
  readonly dropped: RoutesAtListener["dropped"];
}

/** Why istiod leaves a listener out; undefined: it does not. */
export const listenerLeftOut = (listener: ListenerGateway, mesh: Mesh): string | undefined =>
  listener.leftOut ?? missingCertificate(listener, grantsOf(listener.owner, mesh))?.because;

/**
 * The rules of all routes at the listeners of a Gateway: listeners for plain HTTP on one port share the tables of a host, each HTTPS
 * listener has its own (Istio pilot/pkg/config/kube/gateway/route_collections.go mergeHTTPRoutes,
 * pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig).
 */
export function ruleTablesOf(gateway: KubernetesGateway, mesh: Mesh): RuleTables {
  const named = routesNaming(gateway, mesh);
  const isStorable = ({ spec }: KubernetesRoute) => spec.hostnames.length <= mostHostnames;
  const routes = named.filter(isStorable);
  const kept = mesh.get(listenersOfGateway, gateway).all.filter((one) => listenerLeftOut(one, mesh) === undefined);
  const found = kept.map((listener) => ({
    listener,
    at: routesByHostname(listener, routes, mesh),
  }));
  const placed = found.flatMap(({ listener, at }) => at.all.map((one) => ({ ...one, listener })));
  const apart = Map.groupBy(placed, ({ listener, hostname }) => {
    const { port, protocol, name, hostname: offered } = listener.listener;
    const [host = "*"] = [hostname, offered || "*"].map((one) => one.toLowerCase()).sort(mostSpecificFirst);
    return JSON.stringify([port ?? 0, host, protocol === "HTTP" ? "" : `${idOf(listener.owner)} ${name}`]);
  });
  const tooLarge = named.filter((route) => !isStorable(route));
  const because = `it has more than ${mostHostnames} hostnames, which the API server refuses`;
  const dropped = [...tooLarge.map((route) => ({ route, because })), ...found.flatMap(({ at }) => at.dropped)];
  return {
    tables: [...apart]
      .map(([key, all]) => {
        const [port, host] = JSON.parse(key) as [number, string];
        return { port, host, rules: rulesOf(all, port) };
      })
      .sort((a, b) => a.port - b.port || mostSpecificFirst(a.host, b.host)),
    dropped: [...new Map(dropped.map((one) => [one.route, one])).values()],
  };
}

type Placed = HostnameRoutes & { readonly listener: ListenerGateway };

function rulesOf(all: readonly Placed[], port: number): readonly ListedRule[] {
  const bound = all
    .map(({ converted, listener: { of, generated } }) => {
      // Routes of the namespace of the proxies come first (Istio pilot/pkg/model/push_context.go VirtualServicesForGateway).
      const isNear = converted.virtualService.metadata.namespace === of.metadata.namespace;
      return { ...converted, gateway: nameOf(generated), isNear };
    })
    .sort((a, b) => Number(b.isNear) - Number(a.isNear) || oldestFirst(a.virtualService, b.virtualService));
  return rulesInOrder(bound, port);
}

/** The rules of converted routes in the order in which they are tried. Of the routes, each is at a gateway, as `namespace/name`, or in the mesh, and those that win come first. */
export function rulesInOrder(
  bound: readonly (ConvertedRoutes & { readonly gateway: string })[],
  port: number,
): readonly ListedRule[] {
  const origins = new Map(bound.flatMap((one) => [...one.origins]));
  const refused = new Map(bound.flatMap((one) => [...one.refused]));
  const inOrder = routesOfListener(bound, { port }).flatMap(({ route, by }) => {
    const origin = origins.get(route);
    return origin === undefined ? [] : [{ origin, route, by: by && origins.get(by.route) }];
  });
  // A prefix is two routes, of which the second one is for everything below it.
  const rules = [...Map.groupBy(inOrder, ({ origin }) => origin)].flatMap(([origin, some]): ListedRule[] => {
    const last = some.at(-1);
    if (last === undefined) return [];
    const by = some.every((one) => one.by !== undefined) ? last.by : undefined;
    return [{ origin, route: last.route, refused, by }];
  });
  return onceEach(rules);
}

/** Of a rule that several listeners bring to one table, only the first one counts. */
function onceEach(rules: readonly ListedRule[]): readonly ListedRule[] {
  const seen = new Set<object>();
  return rules.filter(({ origin: { match, rule } }) => {
    const written = match ?? rule;
    if (seen.has(written)) return false;
    seen.add(written);
    return true;
  });
}

/** ListenerSets can add listeners for any host. */
const ingressGatewaysByHost = index("KubernetesGateway", (gateway, settings) => {
  if (!isForIngress(gateway, settings)) return [];
  const hosts = gateway.spec.listeners.map(({ hostname }) => hostname || "*");
  return new Set((canHaveListenerSets(gateway, settings) ? [...hosts, "*"] : hosts).map(hostKey));
});

/** What requests for a host meet at one Gateway: for each port the table with the most specific host that covers it. */
export interface TablesAtGateway {
  readonly gateway: KubernetesGateway;
  readonly tables: readonly RuleTable[];
}

/** The Gateways of the Gateway API with rules for a host, sorted by name. */
export const ruleTablesForHost = (host: string, mesh: Mesh): readonly TablesAtGateway[] =>
  (mesh.lookup(ingressGatewaysByHost, coveringHosts(host)) as readonly KubernetesGateway[])
    .map((gateway) => ({ gateway, tables: tablesFor(host, ruleTablesOf(gateway, mesh)) }))
    .filter(({ tables }) => tables.length > 0)
    .sort((a, b) => byId(a.gateway, b.gateway));

const tablesFor = (host: string, { tables }: RuleTables): readonly RuleTable[] =>
  [...Map.groupBy(tables, ({ port }) => port).values()].flatMap((some) =>
    some
      .filter((table) => covers(table.host, host))
      .sort((a, b) => mostSpecificFirst(a.host, b.host))
      .slice(0, 1),
  );
