import { idOf } from "../../kube/identity.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import { isReadBy } from "../objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { coveringHosts, hostKey, hostOfService, isWildcard, overlaps } from "../traffic/hosts.ts";
import type { Egress } from "../traffic/sidecar-egress.ts";
import {
  everyVirtualServiceByHost,
  hostsOf,
  httpVirtualServiceChoices,
  selectedFirst,
  streamVirtualServices,
  waypointVirtualServices,
} from "../traffic/virtual-service-choices.ts";
import { isDelegate } from "../traffic/virtual-service-clients.ts";
import type { StreamRoute, VirtualService } from "../traffic/virtual-services.ts";
import { serviceEntryByHost } from "../traffic/definition-choice.ts";
import { portOfDefinition } from "./definitions.ts";
import type { Destinations } from "./destinations.ts";
import { parentReads, RoutesOfHost } from "./gateway-api-routes.ts";
import type { Source } from "./outcome.ts";
import { type RouteCase, type RouteClient, takesAll, takesAtWaypoint } from "./route-conditions.ts";
import { RouteEntries, routeEntryReads, withOrigin } from "./route-entries.ts";
import type { BoundRoutes, Entry, GatewayRoutes, HostPort } from "./table-entries.ts";

/** A Service and every VirtualService with a host that covers its own. */
export const virtualServicesOfService = relation(
  "virtualServicesOfService",
  index("Service", (service, { domain }) => coveringHosts(hostOfService(service, domain))),
  everyVirtualServiceByHost,
);

/** A ServiceEntry and every VirtualService with a host that covers one for which it has a name. */
export const virtualServicesOfEntry = relation("virtualServicesOfEntry", serviceEntryByHost, everyVirtualServiceByHost);

const hasStreams = ({ spec }: VirtualService): boolean => spec.tcp.length + spec.tls.length > 0;
/** A ServiceEntry with wildcards, and the VirtualServices with routes of TCP or TLS for hosts that they cover. */
export const virtualServicesUnderEntry = relation(
  "virtualServicesUnderEntry",
  index("ServiceEntry", ({ spec }) => new Set(spec.hosts.filter(isWildcard).map(hostKey))),
  index("VirtualService", (one, settings) =>
    hasStreams(one) && !isDelegate(one) ? new Set(hostsOf(one, settings).flatMap(coveringHosts)) : [],
  ),
);

/**
 * The VirtualServices for a Service in the order in which sidecars of a namespace try them for HTTP, by settings, control plane and
 * namespace. A fact, because very many clients of a namespace can be told apart.
 */
const httpOrders = fact(
  "httpOrders",
  "Service",
  [virtualServicesOfService],
  (): WeakMap<MeshSettings, Map<string, readonly VirtualService[]>> => new WeakMap(),
);

/** What a table of routes reads. */
export const routeTableReads = [
  virtualServicesOfService,
  virtualServicesOfEntry,
  virtualServicesUnderEntry,
  httpOrders,
  ...routeEntryReads,
  ...parentReads,
] as const;
type View = MeshView<(typeof routeTableReads)[number]>;

/** The proxy that has the routes, and what its requests are sent to. */
interface Asked {
  readonly source: Source;
  readonly to: HostPort;
  readonly isWaypoint: boolean;
  /** As this proxy sees them. */
  readonly destinations: Pick<Destinations, "controlPlane">;
}

/** The routes of one proxy for a host and a port, in the order in which it tries them. */
export class RouteTable {
  readonly #to: HostPort;
  readonly #source: Source;
  readonly #isWaypoint: boolean;
  readonly #destinations: Pick<Destinations, "controlPlane">;
  readonly #mesh: View;
  readonly #gatewayApi: RoutesOfHost;
  readonly #entries: RouteEntries;

  constructor({ source, to, isWaypoint, destinations }: Asked, mesh: View) {
    this.#to = to;
    this.#source = source;
    this.#isWaypoint = isWaypoint;
    this.#destinations = destinations;
    this.#mesh = mesh;
    this.#gatewayApi = new RoutesOfHost(to, destinations, mesh);
    this.#entries = new RouteEntries(to, this.#gatewayApi, mesh);
  }

  /** The routes that the proxy has for the port, in the order in which it tries them; empty: it routes nothing. A text: why they are not known. */
  of(egress: Egress | undefined, isHidden: boolean): readonly Entry[] | string {
    const { doubt } = this.#gatewayApi;
    if (doubt !== undefined) return doubt;
    const { port } = this.#to;
    const client = { namespace: this.#client, labels: this.#source.labels, port, isWaypoint: this.#isWaypoint };
    if (isHidden) {
      const ofNames = [...this.#ofAlias(egress, client), ...this.#ofOtherName(egress, client)];
      const routes = [...ofNames, ...this.#ofUnknownHost(egress, client)];
      return routes.filter(({ protocol }) => protocol === "http");
    }
    const ofAlias = this.#ofAlias(egress, client);
    const [first] = ofAlias;
    if (first === undefined) return this.#ofKnownHost(egress, client);
    if (this.#to.isAliasHidden === true && this.#ofKnownHost(egress, client).length > 0) return besideAlias;
    return this.#isUncertainFor(first.virtualService) ? overAlias : ofAlias;
  }

  #ofKnownHost(egress: Egress | undefined, client: RouteClient): readonly Entry[] | string {
    const among = this.#amongOtherHosts(egress, client);
    if (among !== undefined)
      return `${idOf(among)} names other hosts too, and it routes this one at the ports of those that the client knows`;
    const ofHost = this.#ofVirtualServices(egress, client);
    if (typeof ofHost === "string") return ofHost;
    const ofName = this.#ofOtherName(egress, client);
    if (ofName.length === 0) return ofHost;
    // At other ports it counts for the sake of another of its hosts, if the client imports a Service that has it.
    return egress === undefined || this.#to.port === 80 ? ofName : byOtherHost;
  }

  /**
   * Those of every VirtualService for a host that the proxy does not know: none of them keeps another one away. One with several
   * hosts can count at the ports of the others, too.
   */
  #ofUnknownHost(egress: Egress | undefined, client: RouteClient): readonly Entry[] {
    const { host, port } = this.#to;
    const usedAlone = (one: VirtualService) =>
      httpVirtualServiceChoices(this.#client, host, [one], this.#mesh.settings).used;
    return this.#candidates(false)
      .filter((one) => (port === 80 || one.spec.hosts.length > 1) && this.#hasRoutesOf(one, egress))
      .flatMap((one) => usedAlone(one) ?? [])
      .flatMap((one) => this.#entries.of(one, "http", client));
  }

  /**
   * A VirtualService for the name of an alias routes HTTP requests by that name, at the ports of the alias (Istio
   * pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). Where the protocol is detected, only what
   * is for the host itself counts (httproute.go getVirtualHostsForSniffedServicePort).
   */
  #ofAlias(egress: Egress | undefined, client: RouteClient): readonly Entry[] {
    const { alias } = this.#to;
    if (alias === undefined || this.#isWaypoint || !this.#isToldByName(alias)) return [];
    const host = hostOfService(alias, this.#mesh.settings.domain);
    const all = [...this.#mesh.related(virtualServicesOfService, alias), ...this.#gatewayApi.made.keys()].filter(
      (one) => this.#hasRoutesOf(one, egress),
    );
    return this.#firstOf(this.#ofHttp(host, all).map((one) => this.#entries.of(one, "http", client)));
  }

  /** A wildcard has names of its own at port 80 only if it covers no service with the port (separateVSHostsAndServices). */
  #isUncertainFor(virtualService: VirtualService): boolean {
    const { alias, port } = this.#to;
    const { settings } = this.#mesh;
    if (alias === undefined || portOfDefinition(alias, port) !== undefined) return false;
    return !hostsOf(virtualService, settings).includes(hostOfService(alias, settings.domain));
  }

  /** Whether requests are told apart by the host that they name. Port 80 has names that no service has, too. */
  #isToldByName(alias: Service): boolean {
    const { definition, port } = this.#to;
    if (definition !== undefined && portOfDefinition(definition, port)?.protocol !== "HTTP") return false;
    const declared = this.#to.isAliasHidden === true ? undefined : portOfDefinition(alias, port);
    return declared === undefined ? port === 80 : declared.protocol !== "TCP";
  }

  /** For a sidecar that imports everything; undefined: more than the VirtualServices for the Service decides. */
  #plainOrder(): readonly VirtualService[] | undefined {
    const { definition, name, host } = this.#to;
    if (definition?.kind !== "Service" || name !== host) return undefined;
    if (this.#isWaypoint || this.#gatewayApi.made.size > 0) return undefined;
    const { settings } = this.#mesh;
    const orders = this.#mesh.get(httpOrders, definition);
    let known = orders.get(settings);
    if (known === undefined) orders.set(settings, (known = new Map()));
    const key = `${this.#destinations.controlPlane} ${this.#client}`;
    let found = known.get(key);
    if (found === undefined) {
      const all = this.#candidates(false).filter((one) => this.#hasRoutesOf(one, undefined));
      known.set(key, (found = all.length === 0 ? all : this.#inOrder(all, true)));
    }
    return found;
  }

  /** A VirtualService that has no route here leaves the host to the next one. */
  #firstOf(all: readonly (readonly Entry[])[]): readonly Entry[] {
    return all.find((entries) => entries.length > 0) ?? [];
  }

  /**
   * Of those with the name of the host, a sidecar takes the first that has a route for it at this port (Istio
   * pilot/pkg/networking/core/route/route.go BuildSidecarVirtualHostWrapper).
   */
  #ofHttp(host: string, all: readonly VirtualService[]): readonly VirtualService[] {
    const { settings } = this.#mesh;
    const { used, passedOver } = httpVirtualServiceChoices(this.#client, host, all, settings);
    if (used === undefined) return [];
    // A wildcard is the first one's, even if it has no route at this port.
    if (isWildcard(host) || !hostsOf(used, settings).includes(host)) return [used];
    const others = passedOver.filter(({ because }) => because === "younger" || because === "nearer");
    return [used, ...others.map(({ virtualService }) => virtualService)];
  }

  #hasRoutesOf(one: VirtualService, egress: Egress | undefined): boolean {
    return (
      isReadBy(one, this.#destinations.controlPlane, this.#mesh.settings) &&
      egress?.importsVirtualService(one, this.#mesh, this.#to.port) !== false
    );
  }

  /** Which routes count for connections that are not read as HTTP; undefined: they are. */
  get #streams(): "tcp" | "tls" | undefined {
    const { definition, port, asked } = this.#to;
    const declared = definition && portOfDefinition(definition, port);
    if (declared?.protocol !== "TCP" && asked === undefined) return undefined;
    return declared?.isTls === true ? "tls" : "tcp";
  }

  #ofVirtualServices(egress: Egress | undefined, client: RouteClient): readonly Entry[] {
    const streams = this.#streams;
    const plain = streams === undefined && egress === undefined ? this.#plainOrder() : undefined;
    if (plain !== undefined) return this.#firstOf(plain.map((one) => this.#entries.of(one, "http", client)));
    const all = [...this.#candidates(streams !== undefined), ...this.#gatewayApi.made.keys()].filter((one) =>
      this.#hasRoutesOf(one, egress),
    );
    if (all.length === 0) return [];
    const entriesOf = (one: VirtualService) => this.#entries.of(one, streams ?? "http", client);
    if (this.#isWaypoint && streams !== undefined) return this.#streamAtWaypoint(this.#inOrder(all, false));
    if (this.#isWaypoint || streams !== undefined) return this.#inOrder(all, streams === undefined).flatMap(entriesOf);
    const named = this.#firstOf(this.#ofExactName(all).map(entriesOf));
    return named.length > 0 ? named : this.#firstOf(this.#inOrder(all, true).map(entriesOf));
  }

  /**
   * The routes of a VirtualService that has the name that requests are sent to as its host, if it comes before the one that has the
   * host of the Service, and with it all of its names (Istio pilot/pkg/networking/core/httproute.go dedupeDomains).
   */
  #ofOtherName(egress: Egress | undefined, client: RouteClient): readonly Entry[] {
    const { called } = this.#to;
    if (called === undefined || this.#isWaypoint || this.#streams !== undefined) return [];
    const entriesOf = (one: VirtualService) => this.#entries.of(one, "http", client);
    const firstOf = (all: readonly VirtualService[], name: string) =>
      this.#ofHttp(
        name,
        all.filter((one) => this.#hasRoutesOf(one, egress)),
      ).find((one) => entriesOf(one).length > 0);
    const ofName = firstOf(called.virtualServices, called.host);
    if (ofName === undefined) return [];
    const ofHost = firstOf([...this.#candidates(false), ...this.#gatewayApi.made.keys()], this.#to.name);
    const inOrder = selectedFirst(this.#client, this.#mesh.settings);
    return ofHost === undefined || inOrder(ofName, ofHost) < 0 ? entriesOf(ofName) : [];
  }

  /**
   * The one route that a waypoint has for connections, whatever they ask for in TLS: the first of tls, or else the first of tcp. A
   * VirtualService of which the first one leads nowhere has none (Istio pilot/pkg/networking/core/listener_waypoint.go getWaypointTCPRoutes).
   */
  #streamAtWaypoint(inOrder: readonly VirtualService[]): readonly Entry[] {
    const { name, port } = this.#to;
    for (const protocol of ["tls", "tcp"] as const)
      for (const virtualService of inOrder) {
        const all: readonly StreamRoute[] = virtualService.spec[protocol];
        const index = all.findIndex((route) => takesAtWaypoint({ route, protocol }, { host: name, port }));
        const route = all[index];
        if (route === undefined || route.route.length === 0) continue;
        return [this.#entries.withOrigin({ virtualService, protocol, index, route, cases: [everyConnection] })];
      }
    return [];
  }

  #candidates(isStream: boolean): readonly VirtualService[] {
    const { definition, host } = this.#to;
    if (definition?.kind === "Service") return this.#mesh.related(virtualServicesOfService, definition);
    const over = this.#mesh.under(virtualServicesOfEntry, coveringHosts(host));
    return isStream ? [...new Set([...over, ...this.#streamsUnder()])] : over;
  }

  /**
   * Connections to a wildcard follow the routes for any host that it covers, which tell them apart by what TLS asks for, if at all
   * (Istio pilot/pkg/networking/core/tls.go getConfigsForHost).
   */
  #streamsUnder(): readonly VirtualService[] {
    const { name } = this.#to;
    if (!isWildcard(name)) return [];
    const { settings } = this.#mesh;
    return this.#mesh
      .under(virtualServicesUnderEntry, [hostKey(name)])
      .filter((one) => hostsOf(one, settings).some((host) => overlaps(host, name)));
  }

  /**
   * A VirtualService for a host that only a wildcard covers is for a name of its own, and at port 80 alone (Istio
   * pilot/pkg/networking/core/route/route.go separateVSHostsAndServices, buildSidecarVirtualHostsForVirtualService).
   */
  #ofExactName(all: readonly VirtualService[]): readonly VirtualService[] {
    const { host, name, port } = this.#to;
    const { settings } = this.#mesh;
    if (name === host || port !== 80 || this.#isWaypoint) return [];
    return this.#ofHttp(
      host,
      all.filter((one) => hostsOf(one, settings).includes(host)),
    );
  }

  /**
   * A VirtualService with other hosts, too, for a name that only a wildcard covers, at a port other than 80: it counts if the client
   * knows another of its hosts with HTTP at that port (Istio pilot/pkg/networking/core/route/route.go
   * buildSidecarVirtualHostsForVirtualService).
   */
  #amongOtherHosts(egress: Egress | undefined, client: RouteClient): VirtualService | undefined {
    const { host, name, port } = this.#to;
    if (name === host || port === 80 || this.#isWaypoint) return undefined;
    return this.#candidates(false).find(
      (one) =>
        one.spec.hosts.length > 1 &&
        hostsOf(one, this.#mesh.settings).includes(host) &&
        this.#hasRoutesOf(one, egress) &&
        httpVirtualServiceChoices(this.#client, host, [one], this.#mesh.settings).used !== undefined &&
        this.#entries.of(one, "http", client).length > 0,
    );
  }

  /** The VirtualServices in the order in which they are tried. */
  #inOrder(all: readonly VirtualService[], isHttp: boolean): readonly VirtualService[] {
    const { settings } = this.#mesh;
    const { name, definition } = this.#to;
    if (this.#isWaypoint) {
      const namespace = definition?.metadata.namespace;
      return waypointVirtualServices(this.#client, { host: name, namespace }, all, settings);
    }
    return isHttp ? this.#ofHttp(name, all) : streamVirtualServices(this.#client, all, settings);
  }

  /**
   * The routes of all VirtualServices for the host are merged, and those that take every request come last. Of each
   * VirtualService, nothing after such a route counts (Istio
   * pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig, pilot/pkg/networking/core/route/route.go SortVHostRoutes).
   */
  ofGateway({ scheme, names, stream }: GatewayRoutes): readonly Entry[] | "redirected" {
    if (stream !== undefined) return [{ ...stream, cases: [everyConnection] }];
    const { labels } = this.#source;
    const client = { namespace: this.#client, labels, port: this.#to.port, isWaypoint: false, scheme };
    const routesOf = ({ virtualService, gateway, converted }: BoundRoutes) => {
      const own = this.#entries.of(virtualService, "http", { ...client, gateway });
      const apart = own.flatMap((entry) => entry.cases.map((only) => ({ ...entry, cases: [only] })));
      const last = apart.findIndex(({ cases }) => cases.every(takesAll));
      const all = last < 0 ? apart : apart.slice(0, last + 1);
      return converted === undefined ? all : all.map((entry) => withOrigin(entry, converted));
    };
    // A name for which no VirtualService has a route is not known.
    for (const { bound, isRedirected } of names) {
      const found = bound.map((one) => ({ ...one, routes: routesOf(one) }));
      if (isRedirected || found.some(({ redirects, routes }) => redirects && routes.length > 0)) return "redirected";
      const all = found.flatMap(({ routes }) => routes);
      const isLast = ({ cases }: Entry) => cases.every(takesAll);
      if (all.length > 0) return [...all.filter((one) => !isLast(one)), ...all.filter(isLast)];
    }
    return [];
  }

  get #client(): string {
    return this.#source.namespace?.metadata.name ?? "";
  }
}

const overAlias =
  "a VirtualService for a wildcard covers the name of an alias that has no such port, and counts only if it covers no service with the port";
const besideAlias =
  "a VirtualService has the name of an alias that the client does not know, and another one the host that it stands for: whoever comes first has the requests";
const byOtherHost =
  "a VirtualService has the name that requests are sent to, and counts at this port only if the client imports another of its hosts";
const everyConnection: RouteCase = { clauses: [], isClear: true, uri: undefined };
