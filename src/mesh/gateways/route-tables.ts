import type { MeshSettings } from "../../view/settings.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { HostPatterns } from "../traffic/host-patterns.ts";
import { hostsOf, nearness } from "../traffic/virtual-service-choices.ts";
import { nameOf } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { type Asked, type GatewayRoute, routesInOrder } from "./merged-routes.ts";
import { type Gateway, isPlainHttp, readsHttp, type Server, serverHosts } from "./servers.ts";

/** The routes of one host at one listener of a Gateway. */
export interface RouteTable {
  readonly port: number;
  /** The host of requests; a wildcard: all hosts under it that have no table of their own. */
  readonly host: string;
  /** In the order in which Envoy tries them. */
  readonly routes: readonly GatewayRoute[];
  /** Whether all requests get a redirect to HTTPS instead, which one of the servers for the host is enough for. */
  readonly isRedirected: boolean;
}

/** The VirtualServices that the proxies of a Gateway get, and what is known of these. */
interface Bound extends Required<Pick<Asked, "proxies" | "delegated">> {
  readonly virtualServices: readonly VirtualService[];
}

/**
 * The route tables of a Gateway: one for each host that a server and a VirtualService have in common, the narrower of the two where
 * one is a wildcard. All servers for plain HTTP on one port share tables, each HTTPS server has its own (Istio
 * pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig, pkg/config/host/names.go Intersection). What only the
 * namespace of the proxies sees comes first (pilot/pkg/model/push_context.go VirtualServicesForGateway). `kept` are the servers that
 * istiod keeps. What Gateways beside it add to a port is not in the tables.
 */
export function routeTablesOf(
  gateway: Gateway,
  kept: readonly Server[],
  { virtualServices, proxies, delegated }: Bound,
  settings: MeshSettings,
): readonly RouteTable[] {
  const [proxyNamespace, another] = new Set(proxies.map(({ namespace }) => namespace));
  const rankOf = (one: VirtualService) =>
    proxyNamespace === undefined || another !== undefined ? 0 : nearness(one, proxyNamespace, settings);
  const inOrder = virtualServices
    .filter(({ spec }) => spec.http.length > 0)
    .sort((a, b) => rankOf(a) - rankOf(b) || oldestFirst(a, b));
  const listeners = Map.groupBy(kept.filter(readsHttp), (server) =>
    isPlainHttp(server) ? JSON.stringify([server.port?.number, server.bind]) : server,
  );
  return [...listeners.values()].flatMap((servers) => {
    const offered = servers.flatMap((server) =>
      inOrder.flatMap((virtualService) =>
        [...commonHosts(server, gateway, hostsOf(virtualService, settings), virtualService)].map((host) => ({
          host,
          virtualService,
          isRedirected: isPlainHttp(server) && server.tls?.httpsRedirect === true,
        })),
      ),
    );
    const port = servers[0]?.port?.number ?? 0;
    return [...Map.groupBy(offered, ({ host }) => host)]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([host, some]) => {
        // A VirtualService that two servers offer the host to counts at its first place.
        const all = [...new Set(some.map(({ virtualService }) => virtualService))];
        const isRedirected = some.some((one) => one.isRedirected);
        return { port, host, routes: routesInOrder(nameOf(gateway), all, { port, proxies, delegated }), isRedirected };
      })
      .filter(({ routes, isRedirected }) => routes.length > 0 || isRedirected);
  });
}

function commonHosts(
  server: Server,
  gateway: Gateway,
  hosts: readonly string[],
  { metadata }: VirtualService,
): ReadonlySet<string> {
  const names = serverHosts(server, gateway.metadata.namespace)
    .filter(({ namespace }) => namespace === "*" || namespace === metadata.namespace)
    .map(({ host }) => host.toLowerCase());
  const [offered, wanted] = [new HostPatterns(names), new HostPatterns(hosts)];
  return new Set([
    ...hosts.filter((host) => offered.over(host) !== undefined),
    ...names.filter((name) => wanted.over(name) !== undefined),
  ]);
}
