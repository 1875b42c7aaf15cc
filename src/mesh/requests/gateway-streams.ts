import { idOf } from "../../kube/identity.ts";
import { fact, type MeshView } from "../../view/view.ts";
import { hostnameRouteReads, usesAtGateways } from "../gateways/hostname-routes.ts";
import type { Listener } from "../gateways/listener-gateways.ts";
import { listenersOfGateway } from "../gateways/listener-sets.ts";
import { namesAtListener, streamsAtListeners } from "../gateways/listener-streams.ts";
import type { KubernetesRoute } from "../gateways/routes.ts";
import { passesThrough, readsHttp, type Server, serverHosts } from "../gateways/servers.ts";
import { streamsOfGateway } from "../gateways/stream-routes.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { covers, mostSpecificHost, overlaps } from "../traffic/hosts.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import { fullGatewayName, nameOf } from "../traffic/virtual-service-clients.ts";
import type { StreamRoute, VirtualService } from "../traffic/virtual-services.ts";
import { convertedStreams, type ConvertedStreams, dropped } from "../gateways/converted-rules.ts";
import type { StreamAtGateway } from "./table-entries.ts";
import {
  type Offer,
  type Surroundings as HostSurroundings,
  unknownLabels,
  virtualHostReads,
  virtualServicesAt,
} from "./virtual-hosts.ts";

/** The route of connections at the server of a gateway. */
export interface StreamChoice {
  /** Undefined: none takes them. */
  readonly stream: StreamAtGateway | undefined;
  /** Why it is not certain which routes there are; undefined: it is. */
  readonly doubt: string | undefined;
  /** Why istiod uses a route that names the listener for nothing. */
  readonly dropped: readonly string[];
}

/** A route of the Gateway API at a listener. */
interface ListenerStream extends ConvertedStreams {
  readonly httpRoute: KubernetesRoute;
  /** Whether it is known that the listener allows its namespace. */
  readonly isKnown: boolean;
  /** Why istiod drops all its rules; undefined: it does not. */
  readonly because: string | undefined;
}

/**
 * The routes of connections at each listener of a Gateway, the oldest first. A fact, because many questions can be about the hosts of one
 * Gateway, and each of them depends on all of its routes: names of earlier ones are left out of later ones.
 */
const streamsOfListeners = fact(
  "streamsOfListeners",
  "KubernetesGateway",
  [streamsAtListeners, ...hostnameRouteReads],
  (gateway, mesh): ReadonlyMap<Listener, readonly ListenerStream[]> => {
    const uses = usesAtGateways(mesh);
    const { domain } = mesh.settings;
    const all = [...mesh.get(streamsAtListeners, gateway)].map(([listener, attached]) => {
      const streams = attached.map(({ route: httpRoute, isKnown }) => ({
        ...convertedStreams(httpRoute, { hosts: namesAtListener(httpRoute, listener), domain, ...uses }),
        ...{ httpRoute, isKnown, because: dropped(httpRoute, uses) },
      }));
      return [listener.listener, streams] as const;
    });
    return new Map(all);
  },
);

/** What routes of connections at gateways are read by. */
export const gatewayStreamReads = [
  ...virtualHostReads,
  streamsOfGateway,
  streamsOfListeners,
  listenersOfGateway,
] as const;

export interface Surroundings extends Omit<HostSurroundings, "mesh"> {
  readonly mesh: HostSurroundings["mesh"] & MeshView<(typeof gatewayStreamReads)[number]>;
}

/**
 * The listeners of the Gateway of an offer that pass on TLS at its port, in the order of their names. A Gateway of Istio's own kind can have so many
 * servers that only those that offer the name are compared.
 */
function passingBeside(offer: Offer, mesh: MeshView<typeof listenersOfGateway>): readonly Offer[] {
  const { server, listener } = offer;
  if (listener === undefined) return [offer];
  return mesh
    .get(listenersOfGateway, listener.of)
    .all.filter(({ leftOut }) => leftOut === undefined)
    .toSorted((a, b) => oldestFirst(a.generated, b.generated))
    .flatMap((one) => one.generated.spec.servers.map((own) => ({ gateway: one.generated, server: own, listener: one })))
    .filter((one) => one.server.port?.number === server.port?.number && passesOn(one.server));
}

/** Whether a server passes TLS on by routes. */
export const passesOn = (server: Server): boolean =>
  !readsHttp(server) && passesThrough(server) && server.tls?.mode !== "AUTO_PASSTHROUGH";

interface Bound extends Partial<Pick<ConvertedStreams, "refused">> {
  readonly virtualService: VirtualService;
  readonly httpRoute?: KubernetesRoute;
}

/**
 * The route by which a server takes connections that it does not pass on: the first that names its port, whatever the connections are
 * for (Istio pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTCPRoutes).
 */
export function streamAt(offer: Offer, surroundings: Surroundings): StreamChoice {
  const { all, doubts, dropped: lost } = boundTo(offer, surroundings);
  const bound = all.filter(({ virtualService }) => shareHost(virtualService, offer, surroundings));
  return { stream: firstOf(bound, offer), doubt: doubts[0], dropped: lost };
}

/** What a server that passes TLS on does with connections that ask for a name. */
export interface PassedOn {
  readonly offer: Offer;
  /** The name of the match that takes them; undefined: which match does is not known. */
  readonly name: string | undefined;
  readonly choice: StreamChoice;
}

/**
 * The servers that may pass on TLS which asks for a name: that with the most specific match, and those of which the routes are not
 * known. A match that has a name of an earlier one, of any server of the port, is left out with all its names (Istio
 * pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTLSRoutes).
 */
export function* passedOn(offers: readonly Offer[], name: string, surroundings: Surroundings): Iterable<PassedOn> {
  const byName = new Map<string, { readonly offer: Offer; readonly stream: StreamAtGateway }>();
  const lost: string[] = [];
  const servers = new Map(
    offers.flatMap((offer) => passingBeside(offer, surroundings.mesh)).map((one) => [one.server, one]),
  );
  for (const offer of servers.values()) {
    const { all, doubts, dropped: others } = boundTo(offer, surroundings);
    lost.push(...others);
    const [doubt] = doubts;
    if (doubt !== undefined) yield { offer, name: undefined, choice: { stream: undefined, doubt, dropped: others } };
    const bound = all.filter(({ virtualService }) => shareHost(virtualService, offer, surroundings));
    for (const { names, stream } of matchesOf(bound, offer)) {
      if (names.some((host) => byName.has(host))) continue;
      for (const host of names) byName.set(host, { offer, stream });
    }
  }
  const best = mostSpecificHost(
    name,
    [...byName.keys()].filter((host) => covers(host, name)),
  );
  const found = best === undefined ? undefined : byName.get(best);
  if (found !== undefined)
    yield { offer: found.offer, name: best, choice: { stream: found.stream, doubt: undefined, dropped: lost } };
}

function boundTo(
  { gateway, listener }: Offer,
  { proxyNamespace, mesh }: Surroundings,
): { readonly all: readonly Bound[]; readonly doubts: readonly string[]; readonly dropped: readonly string[] } {
  if (listener === undefined) {
    const written = mesh.related(streamsOfGateway, gateway);
    const all = virtualServicesAt(nameOf(gateway), written, proxyNamespace, mesh.settings);
    return { all: all.map((virtualService) => ({ virtualService })), doubts: [], dropped: [] };
  }
  const { defaultVirtualServiceExportTo } = mesh.settings;
  const isSeen = ({ metadata }: KubernetesRoute) =>
    includesNamespace(visibleTo([], metadata.namespace, defaultVirtualServiceExportTo), proxyNamespace);
  const streams = mesh.get(streamsOfListeners, listener.of).get(listener.listener) ?? [];
  const seen = streams.filter(({ httpRoute }) => isSeen(httpRoute));
  const isNear = ({ httpRoute: { metadata } }: ListenerStream) => Number(metadata.namespace !== proxyNamespace);
  return {
    all: seen.filter(({ because }) => because === undefined).sort((a, b) => isNear(a) - isNear(b)),
    doubts: seen.filter(({ isKnown }) => !isKnown).map(({ httpRoute }) => unknownLabels(httpRoute, listener)),
    dropped: seen.flatMap(({ httpRoute, because }) =>
      because === undefined ? [] : [`istiod drops all rules of ${idOf(httpRoute)}: ${because}`],
    ),
  };
}

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

/** Where TLS is terminated, the routes of a TLSRoute are taken as those of tcp, if they have a match. */
function firstOf(bound: readonly Bound[], offer: Offer): StreamAtGateway | undefined {
  for (const one of bound) {
    const { spec } = one.virtualService;
    const isOfTls = one.httpRoute?.originKind === "TLSRoute";
    const routes: readonly StreamRoute[] = isOfTls ? spec.tls : spec.tcp;
    const takes = ({ match, route }: StreamRoute) =>
      route.length > 0 &&
      ((match.length === 0 && !isOfTls) || match.some((each) => isAtServer(each, offer, one.virtualService)));
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

const matchesOf = (
  bound: readonly Bound[],
  offer: Offer,
): readonly { readonly names: readonly string[]; readonly stream: StreamAtGateway }[] =>
  bound.flatMap((one) =>
    one.virtualService.spec.tls.flatMap((route, index) =>
      namesAt(route, offer, one.virtualService).map((names) => ({
        names,
        stream: { ...one, index, route, protocol: "tls" as const },
      })),
    ),
  );
