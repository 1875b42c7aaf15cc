import { fact, index, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { everyNamespace, visibleTo } from "../traffic/export-to.ts";
import { isForGateway, tlsMatchesOf } from "../traffic/tls-routes.ts";
import {
  gatewaysOf,
  gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  nameOf,
} from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { isOfferedBy, protocolsOf } from "./attachment.ts";
import { type Gateway, passesThrough, readsHttp, type Server } from "./servers.ts";
import type { MeshSettings } from "../../view/settings.ts";

/** The gateways of a VirtualService with routes of tcp or tls. */
export const gatewaysOfStreams = (virtualService: VirtualService, settings: MeshSettings): readonly string[] => {
  const { tcp, tls } = virtualService.spec;
  if (tcp.length + tls.length === 0 || isDelegate(virtualService) || !isServed(virtualService, settings)) return [];
  return [...gatewaysOf(virtualService)].filter((gateway) => gateway !== meshGateway);
};

/** A VirtualService with tcp or tls routes at gateways, and all such VirtualServices at the same gateways, itself among them. */
export const streamsAtSameGateway = relation(
  "streamsAtSameGateway",
  index("VirtualService", gatewaysOfStreams),
  index("VirtualService", gatewaysOfStreams),
);

/** A VirtualService with tcp or tls routes, and the Gateways that it names. */
export const gatewaysOfStreamRoutes = relation(
  "gatewaysOfStreamRoutes",
  streamsAtSameGateway.from,
  gatewaysOfVirtualService.to,
);

/** A Gateway and the VirtualServices with routes of tcp or tls that name it. */
export const streamsOfGateway = relation(
  "streamsOfGateway",
  gatewaysOfVirtualService.to,
  index("VirtualService", (virtualService, settings) =>
    virtualService.spec.tcp.length + virtualService.spec.tls.length === 0
      ? []
      : gatewaysOfVirtualService.from.keys(virtualService, settings),
  ),
);

/**
 * The servers of a Gateway that have a filter chain because of a route of tcp, each with the oldest VirtualService that has one: those for
 * TCP, and those that end TLS for no HTTP (Istio pilot/pkg/networking/core/gateway.go createGatewayTCPFilterChainOpts). VirtualServices
 * that not all namespaces see are left out, as above.
 */
export const serversWithTcpRoute = fact(
  "serversWithTcpRoute",
  "Gateway",
  [streamsOfGateway],
  (gateway, mesh): ReadonlyMap<Server, VirtualService> => {
    const { defaultVirtualServiceExportTo } = mesh.settings;
    const found = new Map<Server, VirtualService>();
    const servers = gateway.spec.servers.filter((server) => protocolsOf(server).includes("tcp"));
    if (servers.length === 0) return found;
    for (const virtualService of [...mesh.related(streamsOfGateway, gateway)].sort(oldestFirst)) {
      const { metadata, spec } = virtualService;
      if (!visibleTo(spec.exportTo, metadata.namespace, defaultVirtualServiceExportTo).has(everyNamespace)) continue;
      mesh.visited(servers.length);
      for (const server of servers)
        if (!found.has(server) && hasTcpRouteFor(virtualService, { server, gateway }, mesh.settings))
          found.set(server, virtualService);
    }
    return found;
  },
);

const hasTcpRouteFor = (virtualService: VirtualService, place: OfGateway, settings: MeshSettings): boolean =>
  virtualService.spec.tcp.some(
    ({ match, route }) =>
      route.length > 0 && (match.length === 0 || match.some((one) => fitsServer(one, place, virtualService))),
  ) && isOfferedBy(virtualService, place, settings);

/** A route of `spec.tcp`, or a match of a route of `spec.tls`, that gets no connection at a gateway because of another one. */
export interface StreamLoss {
  readonly protocol: "tcp" | "tls";
  /** The position of the route. */
  readonly i: number;
  /** The position of the match; undefined for tcp, where the whole route is lost. */
  readonly j: number | undefined;
  /** The server name that both have; undefined for tcp. */
  readonly name: string | undefined;
  readonly by: VirtualService;
}

/**
 * The routes for streams that get no connection at a gateway. A server for TCP has one route: the first one that fits its port, of the
 * oldest VirtualService. A server that passes TLS through leaves out each match with a server name that an earlier one has
 * (Istio pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTCPRoutes,
 * buildGatewayNetworkFiltersFromTLSRoutes). A route is lost if all servers that could use it use others. VirtualServices that
 * are not exported to all namespaces are left out, because which pods serve a gateway may not be known.
 */
export const streamLossesAt = fact(
  "streamLossesAt",
  "key",
  [streamsAtSameGateway, gatewaysOfStreamRoutes],
  (name, mesh): ReadonlyMap<VirtualService, readonly StreamLoss[]> => {
    const losses = new Map<VirtualService, readonly StreamLoss[]>();
    const [gateway] = mesh.under(gatewaysOfStreamRoutes, [name]);
    if (gateway === undefined || !isServed(gateway, mesh.settings)) return losses;
    const bound = mesh
      .under(streamsAtSameGateway, [name])
      .filter(({ metadata, spec }) =>
        visibleTo(spec.exportTo, metadata.namespace, mesh.settings.defaultVirtualServiceExportTo).has(everyNamespace),
      )
      .sort(oldestFirst);
    const used = new Outcomes();
    const names = new Map<string, VirtualService>();
    for (const server of gateway.spec.servers) {
      if (readsHttp(server) || server.tls?.mode === "AUTO_PASSTHROUGH") continue;
      const attached = bound.filter((one) => isOfferedBy(one, { server, gateway }, mesh.settings));
      mesh.visited(bound.length);
      if (passesThrough(server)) passed(attached, { server, gateway }, names, used);
      else streamed(attached, { server, gateway }, used);
    }
    return used.lost();
  },
);

interface OfGateway {
  readonly server: Server;
  readonly gateway: Gateway;
}

function streamed(attached: readonly VirtualService[], { server, gateway }: OfGateway, outcomes: Outcomes): void {
  let first: VirtualService | undefined;
  for (const virtualService of attached)
    for (const [i, { match, route }] of virtualService.spec.tcp.entries()) {
      const isFit = match.length === 0 || match.some((one) => fitsServer(one, { server, gateway }, virtualService));
      if (route.length === 0 || !isFit) continue;
      outcomes.add(virtualService, { protocol: "tcp", i, j: undefined, name: undefined }, first);
      first ??= virtualService;
    }
}

function passed(
  attached: readonly VirtualService[],
  { server, gateway }: OfGateway,
  names: Map<string, VirtualService>,
  outcomes: Outcomes,
): void {
  const keyOf = (name: string) => `${server.port?.number ?? 0} ${server.bind ?? ""} ${name}`;
  for (const virtualService of attached)
    for (const { i, j, match } of tlsMatchesOf(virtualService)) {
      if (!fitsServer(match, { server, gateway }, virtualService)) continue;
      const name = match.sniHosts.find((one) => names.has(keyOf(one)));
      const by = name === undefined ? undefined : names.get(keyOf(name));
      outcomes.add(virtualService, { protocol: "tls", i, j, name }, by);
      if (by !== undefined) continue;
      for (const one of match.sniHosts) names.set(keyOf(one), virtualService);
    }
}

/** Gateways look at the port and the gateways of a match alone. */
export const fitsServer = (
  match: { readonly port: number | undefined; readonly gateways: readonly string[] },
  { server, gateway }: OfGateway,
  virtualService: VirtualService,
): boolean =>
  (!match.port || match.port === server.port?.number) && isForGateway(nameOf(gateway), match, virtualService);

/** What becomes of each route at the servers that could use it. */
class Outcomes {
  readonly #losses = new Map<VirtualService, Map<string, StreamLoss | undefined>>();

  add(virtualService: VirtualService, route: Omit<StreamLoss, "by">, by: VirtualService | undefined): void {
    const there = this.#losses.get(virtualService) ?? new Map<string, StreamLoss | undefined>();
    this.#losses.set(virtualService, there);
    const key = `${route.protocol} ${route.i} ${route.j ?? ""}`;
    if (by === undefined) there.set(key, undefined);
    else if (!there.has(key)) there.set(key, { ...route, by });
  }

  lost(): ReadonlyMap<VirtualService, readonly StreamLoss[]> {
    const found = new Map<VirtualService, readonly StreamLoss[]>();
    for (const [virtualService, routes] of this.#losses) {
      const lost = [...routes.values()].filter((one) => one !== undefined);
      if (lost.length > 0) found.set(virtualService, lost);
    }
    return found;
  }
}
