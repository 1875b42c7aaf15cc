import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";
import { hostnameRouteReads, routesByHostname } from "../gateways/hostname-routes.ts";
import type { ListenerGateway } from "../gateways/listener-gateways.ts";
import type { KubernetesRoute } from "../gateways/routes.ts";
import { type Gateway, isPlainHttp, type Server, serverHosts } from "../gateways/servers.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { covers, mostSpecificFirst } from "../traffic/hosts.ts";
import { hostsOf, nearness } from "../traffic/virtual-service-choices.ts";
import { gatewaysOf, nameOf } from "../traffic/virtual-service-clients.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";
import type { Front } from "./front.ts";
import type { BoundRoutes, VirtualHost } from "./table-entries.ts";

/** A server that offers a host. */
export interface Offer {
  /** What istiod reads, which it generates for a listener of the Gateway API. */
  readonly gateway: Gateway;
  readonly server: Server;
  /** Undefined: the Gateway is of Istio's own kind. */
  readonly listener: ListenerGateway | undefined;
}

/** What `virtualHostsOf` reads. */
export const virtualHostReads = hostnameRouteReads;
type View = MeshView<(typeof virtualHostReads)[number]>;

/** What requests for a host find at servers of one listener. */
export interface VirtualHosts {
  /** The names that cover the host, the most specific first. */
  readonly names: readonly VirtualHost[];
  /** Why it is not certain which routes there are; undefined: it is. */
  readonly doubt: string | undefined;
  /** Why istiod uses a route that names the listeners for nothing. */
  readonly dropped: readonly string[];
}

interface Bound extends BoundRoutes {
  readonly namespace: string;
}

/**
 * The routes that the servers of one listener have for a host, by the names of their virtual hosts: those that a route and a server
 * have in common. They are merged in the order of the Gateways, at each first what is private to the namespace of the proxy, then
 * what is exported to it by name, and then by age (Istio pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig,
 * pilot/pkg/model/push_context.go VirtualServicesForGateway).
 */
export function virtualHostsOf(host: string, offers: readonly Offer[], surroundings: Surroundings): VirtualHosts {
  const names = new Names(host, surroundings.mesh);
  const doubts: string[] = [];
  const lost: string[] = [];
  for (const offer of offers.toSorted((a, b) => oldestFirst(a.gateway, b.gateway))) {
    const found = boundTo(offer, host, surroundings);
    doubts.push(...found.doubts);
    lost.push(...found.dropped);
    for (const bound of found.all) names.add(bound, offer);
    if (isRedirecting(offer)) names.addRedirecting(offer);
  }
  return { names: names.inOrder(), doubt: doubts[0], dropped: lost };
}

const isRedirecting = ({ server }: Offer): boolean => isPlainHttp(server) && server.tls?.httpsRedirect === true;

/**
 * Whether routes are there already. By a second Gateway of the listener they come again, behind all that were there, which makes a
 * difference only if a match is for one of the Gateways.
 */
const isAgain = ({ virtualService, gateway }: Bound, there: BoundRoutes): boolean =>
  there.virtualService === virtualService &&
  (there.gateway === gateway || !virtualService.spec.http.some(({ match }) => match.some(isForGateways)));
const isForGateways = ({ gateways }: VirtualService["spec"]["http"][number]["match"][number]): boolean =>
  gateways.length > 0;

/** The names of virtual hosts over one host. */
class Names {
  readonly #host: string;
  readonly #mesh: View;
  readonly #found = new Map<string, { readonly bound: VirtualHost["bound"][number][]; isRedirected: boolean }>();

  constructor(host: string, mesh: View) {
    this.#host = host;
    this.#mesh = mesh;
  }

  add(bound: Bound, offer: Offer): void {
    const redirects = isRedirecting(offer);
    for (const name of commonNames(bound, offer, this.#host, this.#mesh)) {
      const there = this.#at(name);
      if (redirects || !there.bound.some((one) => isAgain(bound, one))) there.bound.push({ ...bound, redirects });
    }
  }

  /** A server that redirects does so for its hosts without any VirtualService, too. */
  addRedirecting({ server, gateway }: Offer): void {
    for (const { namespace, host } of serverHosts(server, gateway.metadata.namespace)) {
      const name = host.toLowerCase();
      if (namespace === "*" && covers(name, this.#host)) this.#at(name).isRedirected = true;
    }
  }

  inOrder(): readonly VirtualHost[] {
    return [...this.#found].sort(([a], [b]) => mostSpecificFirst(a, b)).map(([, found]) => found);
  }

  #at(name: string) {
    const there = this.#found.get(name) ?? { bound: [], isRedirected: false };
    this.#found.set(name, there);
    return there;
  }
}

interface BoundTo {
  readonly all: readonly Bound[];
  readonly doubts: readonly string[];
  readonly dropped: readonly string[];
}

export interface Surroundings {
  readonly front: Front;
  readonly proxyNamespace: string;
  readonly mesh: View;
}

function boundTo(offer: Offer, host: string, { front, proxyNamespace, mesh }: Surroundings): BoundTo {
  const name = nameOf(offer.gateway);
  const withRoutes = front.virtualServices.filter(({ spec }) => spec.http.length > 0);
  const own = virtualServicesAt(name, withRoutes, proxyNamespace, mesh.settings).map((virtualService) => ({
    virtualService,
    gateway: name,
    namespace: virtualService.metadata.namespace,
  }));
  const attached = ofListener(offer, host, { front, proxyNamespace, mesh });
  return { ...attached, all: [...own, ...attached.all] };
}

/**
 * The VirtualServices of a Gateway that its proxies in a namespace get: first those of that namespace that only some can see, then those
 * that are exported to it by name, each in order of age (Istio pilot/pkg/model/push_context.go
 * VirtualServicesForGateway). `name`: of the Gateway, as `namespace/name`.
 */
export function virtualServicesAt(
  name: string,
  all: readonly VirtualService[],
  proxyNamespace: string,
  settings: MeshSettings,
): readonly VirtualService[] {
  const ranked = all.flatMap((virtualService) => {
    if (!isServed(virtualService, settings) || !gatewaysOf(virtualService).has(name)) return [];
    const { metadata, spec } = virtualService;
    const visible = visibleTo(spec.exportTo, metadata.namespace, settings.defaultVirtualServiceExportTo);
    if (!includesNamespace(visible, proxyNamespace)) return [];
    return [{ virtualService, rank: nearness(virtualService, proxyNamespace, settings) }];
  });
  return ranked
    .sort((a, b) => a.rank - b.rank || oldestFirst(a.virtualService, b.virtualService))
    .map(({ virtualService }) => virtualService);
}

/** The routes of the Gateway API with one hostname are one VirtualService. */
function ofListener(
  { gateway, listener }: Offer,
  host: string,
  { front, proxyNamespace, mesh }: Surroundings,
): BoundTo {
  if (listener === undefined) return { all: [], doubts: [], dropped: [] };
  const { defaultVirtualServiceExportTo } = mesh.settings;
  const isWanted = (hostname: string) => covers(hostname.toLowerCase(), host);
  const found = routesByHostname(listener, front.routes, mesh, isWanted);
  const all = found.all.flatMap(({ converted }): readonly Bound[] => {
    const { virtualService } = converted;
    const { namespace } = virtualService.metadata;
    const isSeen = includesNamespace(visibleTo([], namespace, defaultVirtualServiceExportTo), proxyNamespace);
    return isSeen ? [{ virtualService, gateway: nameOf(gateway), converted, namespace }] : [];
  });
  const isNear = ({ namespace }: Bound) => Number(namespace !== proxyNamespace);
  return {
    all: all.toSorted((a, b) => isNear(a) - isNear(b) || oldestFirst(a.virtualService, b.virtualService)),
    doubts: found.uncertain.map((route) => unknownLabels(route, listener)),
    dropped: found.dropped.map(({ route, because }) => `istiod drops all rules of ${idOf(route)}: ${because}`),
  };
}

export const unknownLabels = (route: KubernetesRoute, { owner, listener }: ListenerGateway): string =>
  `listener ${listener.name} of ${idOf(owner)} selects the namespaces of its routes by labels, and those of the namespace of ${idOf(route)} are not known`;

/** The names of virtual hosts over a host that a VirtualService and a server have in common. */
function commonNames(
  { virtualService, converted: ofRoutes, namespace }: Bound,
  { server, gateway, listener }: Offer,
  host: string,
  { settings }: View,
): ReadonlySet<string> {
  const own = ofRoutes === undefined ? hostsOf(virtualService, settings) : virtualService.spec.hosts;
  const offered = serverHosts(server, gateway.metadata.namespace)
    .filter((one) => listener !== undefined || one.namespace === "*" || one.namespace === namespace)
    .map((one) => one.host.toLowerCase());
  const isOver = (name: string) => covers(name, host);
  return new Set(
    own
      .map((name) => name.toLowerCase())
      .filter(isOver)
      .flatMap((name) => offered.filter(isOver).flatMap((other) => [name, other].sort(mostSpecificFirst).slice(0, 1))),
  );
}
