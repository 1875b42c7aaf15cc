import { idOf } from "../../kube/identity.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { attachedRoutes } from "../gateways/attached-routes.ts";
import { refusalIn } from "../gateways/hostname-routes.ts";
import { hostnamesOf } from "../gateways/route-acceptance.ts";
import type { KubernetesRoute } from "../gateways/routes.ts";
import { serverHosts } from "../gateways/servers.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { covers, mostSpecificHost, overlaps } from "../traffic/hosts.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import { fullGatewayName, gatewaysOfVirtualService, nameOf } from "../traffic/virtual-service-clients.ts";
import type { StreamRoute, VirtualService } from "../traffic/virtual-services.ts";
import { convertedStreams, type ConvertedStreams, dropped } from "../gateways/converted-rules.ts";
import type { StreamAtGateway } from "./route-table.ts";
import {
  type Offer,
  type Surroundings as HostSurroundings,
  unknownLabels,
  virtualServicesAt,
} from "./virtual-hosts.ts";

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

interface Surroundings extends Omit<HostSurroundings, "mesh"> {
  readonly mesh: HostSurroundings["mesh"] & MeshView<typeof streamsOfGateway>;
}

/** The route of connections at the server of a gateway. */
export interface StreamChoice {
  /** Undefined: none takes them. */
  readonly stream: StreamAtGateway | undefined;
  /** Why it is not certain which routes there are; undefined: it is. */
  readonly doubt: string | undefined;
  /** Why istiod uses a route that names the listener for nothing. */
  readonly dropped: readonly string[];
}

interface Bound extends Partial<Pick<ConvertedStreams, "refused">> {
  readonly virtualService: VirtualService;
  readonly httpRoute?: KubernetesRoute;
}

/**
 * The route that a server takes connections by: the first of tcp that names its port, whatever the connections are for; where the
 * server passes TLS on (`name`: what it asks for), that with the most specific name (Istio pilot/pkg/networking/core/gateway.go
 * buildGatewayNetworkFiltersFromTCPRoutes, buildGatewayNetworkFiltersFromTLSRoutes).
 */
export function streamAt(offer: Offer, name: string | undefined, surroundings: Surroundings): StreamChoice {
  const { all, doubts, dropped: lost } = boundTo(offer, surroundings);
  const bound = all.filter(({ virtualService }) => shareHost(virtualService, offer, surroundings));
  const stream = name === undefined ? firstOf(bound, offer) : namedOf(bound, offer, name);
  return { stream, doubt: doubts[0], dropped: lost };
}

function boundTo(
  { gateway, listener }: Offer,
  { front, proxyNamespace, mesh }: Surroundings,
): { readonly all: readonly Bound[]; readonly doubts: readonly string[]; readonly dropped: readonly string[] } {
  if (listener === undefined) {
    const written = mesh.related(streamsOfGateway, gateway);
    const all = virtualServicesAt(nameOf(gateway), written, proxyNamespace, mesh.settings);
    return { all: all.map((virtualService) => ({ virtualService })), doubts: [], dropped: [] };
  }
  const { domain, defaultVirtualServiceExportTo } = mesh.settings;
  const attached = attachedRoutes(listener, front.routes.filter(isStream), mesh).filter(({ route: { metadata } }) =>
    includesNamespace(visibleTo([], metadata.namespace, defaultVirtualServiceExportTo), proxyNamespace),
  );
  const routes = [...new Set(attached.map(({ route }) => route))].sort(oldestFirst);
  const refusalOf = refusalIn(mesh);
  return {
    all: routes
      .filter((route) => dropped(route, { refusalOf }) === undefined)
      .map((httpRoute) => ({
        httpRoute,
        ...convertedStreams(httpRoute, { hosts: hostnamesOf(httpRoute), domain, refusalOf }),
      })),
    doubts: attached.filter(({ isKnown }) => !isKnown).map(({ route }) => unknownLabels(route, listener)),
    dropped: routes.flatMap((route) => {
      const because = dropped(route, { refusalOf });
      return because === undefined ? [] : [`istiod drops all rules of ${idOf(route)}: ${because}`];
    }),
  };
}

const isStream = ({ originKind }: KubernetesRoute): boolean => originKind === "TLSRoute" || originKind === "TCPRoute";

/** Names of the server and of the VirtualService have to overlap, whichever of them the connections are for (pickMatchingGatewayHosts). */
function shareHost(
  virtualService: VirtualService,
  { server, gateway, listener }: Offer,
  { mesh }: Surroundings,
): boolean {
  const { namespace } = virtualService.metadata;
  const own = listener === undefined ? hostsOf(virtualService, mesh.settings) : virtualService.spec.hosts;
  return serverHosts(server, gateway.metadata.namespace)
    .filter((one) => listener !== undefined || one.namespace === "*" || one.namespace === namespace)
    .some(({ host }) => own.some((name) => overlaps(host.toLowerCase(), name.toLowerCase())));
}

type Match = Pick<StreamRoute["match"][number], "port" | "gateways">;

/** Of a match, only its port and its gateways count (l4SingleMatch). */
const isAtServer = ({ port, gateways }: Match, { server, gateway }: Offer, { metadata }: VirtualService): boolean =>
  (!port || port === server.port?.number) &&
  (gateways.length === 0 || gateways.some((one) => fullGatewayName(one, metadata.namespace) === nameOf(gateway)));

/** Where TLS is terminated, the routes of a TLSRoute are taken as those of tcp. */
function firstOf(bound: readonly Bound[], offer: Offer): StreamAtGateway | undefined {
  for (const one of bound) {
    const { spec } = one.virtualService;
    const isOfTls = one.httpRoute?.originKind === "TLSRoute";
    const routes: readonly StreamRoute[] = isOfTls ? spec.tls : spec.tcp;
    const takes = ({ match, route }: StreamRoute) =>
      route.length > 0 && (match.length === 0 || match.some((each) => isAtServer(each, offer, one.virtualService)));
    const index = routes.findIndex(takes);
    const route = routes[index];
    if (route !== undefined) return { ...one, protocol: isOfTls ? "tls" : "tcp", index, route };
  }
  return undefined;
}

/** The names of each match that counts at a server. */
const namesAt = (
  { match, route }: VirtualService["spec"]["tls"][number],
  offer: Offer,
  virtualService: VirtualService,
): readonly (readonly string[])[] =>
  match
    .filter((one) => route.length > 0 && isAtServer(one, offer, virtualService))
    .map(({ sniHosts }) => sniHosts.map((host) => host.toLowerCase()));

/** A name of an earlier match is left out of later ones, with all that these have. */
function namedOf(bound: readonly Bound[], offer: Offer, name: string): StreamAtGateway | undefined {
  const byName = new Map<string, StreamAtGateway>();
  const all = bound.flatMap((one) =>
    one.virtualService.spec.tls.flatMap((route, index) =>
      namesAt(route, offer, one.virtualService).map((names) => ({ names, stream: { ...one, index, route } })),
    ),
  );
  for (const { names, stream } of all) {
    if (names.some((host) => byName.has(host))) continue;
    for (const host of names) byName.set(host, { ...stream, protocol: "tls" });
  }
  const found = mostSpecificHost(
    name,
    [...byName.keys()].filter((host) => covers(host, name)),
  );
  return found === undefined ? undefined : byName.get(found);
}
