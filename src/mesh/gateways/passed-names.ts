import { fact, index, type MeshView, relation } from "../../view/view.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { everyNamespace, visibleTo } from "../traffic/export-to.ts";
import { tlsMatchesOf } from "../traffic/tls-routes.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import { isOfferedBy, protocolsOf } from "./attachment.ts";
import { isPlainHttp, passesThrough, type Gateway, type Server, serverNames } from "./servers.ts";
import { fitsServer, gatewaysOfStreamRoutes, gatewaysOfStreams, streamsOfGateway } from "./stream-routes.ts";

/** A server name of a route of tls, because of which a server that passes TLS through has a filter chain. */
export interface PassedName {
  /** As Envoy compares it. */
  readonly name: string;
  /** As istiod compares it. */
  readonly written: string;
  readonly virtualService: VirtualService;
}

/**
 * The names of one filter chain as Envoy compares them: in lower case, each as often as it is there. With `*`, there are no others (Istio
 * pilot/pkg/networking/core/listener.go toFilterChainMatch).
 */
export const chainNames = (names: Iterable<string>): readonly string[] => {
  const all = [...names];
  return all.includes("*") ? ["*"] : all.map((name) => name.toLowerCase());
};

/** The names by which Envoy selects a server, if it has one filter chain for its hosts. */
export function ownNamesOf(server: Server, { metadata }: Gateway): readonly string[] {
  if (isPlainHttp(server) || server.tls === undefined) return ["*"];
  return passesThrough(server) ? [] : chainNames(serverNames(server, metadata.namespace));
}

/**
 * By the servers of a Gateway that pass TLS through for routes, the names of their filter chains: one for each match of a route, but for
 * a match with a name that an earlier one has, in the same letters (Istio pilot/pkg/networking/core/gateway.go
 * buildGatewayNetworkFiltersFromTLSRoutes). VirtualServices that not all namespaces see are left out, as in stream-routes.ts.
 */
export const passedNames = fact(
  "passedNames",
  "Gateway",
  [streamsOfGateway],
  (gateway, mesh): ReadonlyMap<Server, ReadonlyMap<string, readonly PassedName[]>> => {
    const found = new Map<Server, ReadonlyMap<string, readonly PassedName[]>>();
    const servers = gateway.spec.servers.filter((server) => protocolsOf(server).includes("tls"));
    if (servers.length === 0) return found;
    const { defaultVirtualServiceExportTo } = mesh.settings;
    const bound = mesh
      .related(streamsOfGateway, gateway)
      .filter(({ metadata, spec }) =>
        visibleTo(spec.exportTo, metadata.namespace, defaultVirtualServiceExportTo).has(everyNamespace),
      )
      .sort(oldestFirst);
    const taken = new Set<string>();
    for (const server of servers) {
      mesh.visited(bound.length);
      const attached = bound.filter((one) => isOfferedBy(one, { server, gateway }, mesh.settings));
      found.set(
        server,
        Map.groupBy(namesAt({ server, gateway }, attached, taken), ({ name }) => name),
      );
    }
    return found;
  },
);

function* namesAt(
  place: { readonly server: Server; readonly gateway: Gateway },
  attached: readonly VirtualService[],
  taken: Set<string>,
): Iterable<PassedName> {
  const { port, bind } = place.server;
  const keyOf = (name: string) => `${port?.number ?? 0} ${bind ?? ""} ${name}`;
  for (const virtualService of attached)
    for (const { match } of tlsMatchesOf(virtualService)) {
      if (!fitsServer(match, place, virtualService) || match.sniHosts.some((one) => taken.has(keyOf(one)))) continue;
      for (const one of match.sniHosts) taken.add(keyOf(one));
      const written = match.sniHosts.includes("*") ? ["*"] : match.sniHosts;
      for (const one of written) yield { name: one.toLowerCase(), written: one, virtualService };
    }
}

/** A Gateway, and the VirtualServices at gateways with a route of tls for one of the names by which Envoy selects its servers. */
export const streamsOfServerNames = relation(
  "streamsOfServerNames",
  index("Gateway", (gateway, settings) =>
    isServed(gateway, settings) ? new Set(gateway.spec.servers.flatMap((server) => ownNamesOf(server, gateway))) : [],
  ),
  index("VirtualService", (virtualService, settings) =>
    gatewaysOfStreams(virtualService, settings).length === 0
      ? []
      : new Set([...tlsMatchesOf(virtualService)].flatMap(({ match }) => chainNames(match.sniHosts))),
  ),
);

/** A VirtualService at gateways with routes of tls, and the Gateways with servers that Envoy selects by one of their names. */
export const gatewaysOfServerNames = relation(
  "gatewaysOfServerNames",
  streamsOfServerNames.to,
  streamsOfServerNames.from,
);

/** A server that passes connections with a name on. */
export interface Passer {
  readonly gateway: Gateway;
  readonly server: Server;
  readonly passed: PassedName;
}

/** So many VirtualServices with one name, Gateways of one of them, and servers are looked through. */
const mostCompared = 32;

const readsOfPassers = [streamsOfServerNames, gatewaysOfStreamRoutes, passedNames] as const;

/** The servers that pass connections with a server name on, those of the oldest VirtualServices first. */
export const passersOf = fact("passersOf", "key", readsOfPassers, (name, mesh): readonly Passer[] => {
  const found: Passer[] = [];
  const named = [...mesh.under(streamsOfServerNames, [name])].sort(oldestFirst);
  for (const virtualService of named.slice(0, mostCompared)) {
    found.push(...passersBy(virtualService, name, mesh));
    if (found.length >= mostCompared) break;
  }
  return found.slice(0, mostCompared);
});

function* passersBy(
  virtualService: VirtualService,
  name: string,
  mesh: MeshView<(typeof readsOfPassers)[number]>,
): Iterable<Passer> {
  for (const gateway of mesh.related(gatewaysOfStreamRoutes, virtualService).slice(0, mostCompared))
    for (const [server, names] of mesh.get(passedNames, gateway)) {
      const passed = names.get(name)?.find((one) => one.virtualService === virtualService);
      if (passed !== undefined) yield { gateway, server, passed };
    }
}
