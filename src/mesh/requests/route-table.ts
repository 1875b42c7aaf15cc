import type { ObjectOf } from "../../kube/object.ts";
import { index, type MeshView, relation } from "../../view/view.ts";
import { type KubernetesRoute, routesOfParentService } from "../gateways/routes.ts";
import { declaredProtocol, isTlsPort } from "../membership/service-protocol.ts";
import type { Service } from "../membership/services.ts";
import { isReadBy } from "../objects/revision.ts";
import { includesNamespace, visibleTo } from "../traffic/export-to.ts";
import { coveringHosts, hostOfService } from "../traffic/hosts.ts";
import type { Egress } from "../traffic/sidecar-egress.ts";
import {
  everyVirtualServiceByHost,
  hostsOf,
  httpVirtualServiceChoices,
  streamVirtualServices,
  waypointVirtualServices,
} from "../traffic/virtual-service-choices.ts";
import { delegatesOfRoot, nameOf } from "../traffic/virtual-service-clients.ts";
import type {
  HttpRoute,
  Protocol,
  StreamRoute,
  VirtualService,
  WeightedDestination,
} from "../traffic/virtual-services.ts";
import type { ConvertedRoutes } from "./converted-rules.ts";
import type { Destinations } from "./destinations.ts";
import { convertedRoutes } from "./gateway-api-routes.ts";
import type { Source } from "./outcome.ts";
import { httpCases, type RouteCase, type RouteClient, streamCases, takesAll } from "./route-conditions.ts";

/** A Service and every VirtualService with a host that covers its own. */
export const virtualServicesOfService = relation(
  "virtualServicesOfService",
  index("Service", (service, { domain }) => coveringHosts(hostOfService(service, domain))),
  everyVirtualServiceByHost,
);

/** What a table of routes reads. */
export const routeTableReads = [virtualServicesOfService, delegatesOfRoot, routesOfParentService] as const;
type View = MeshView<(typeof routeTableReads)[number]>;

/** A host and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
  /** Undefined: a gateway offers the host to the outside. */
  readonly service: Service | undefined;
}

/** The routes that a gateway has for a host that one of its servers offers. */
export interface GatewayRoutes {
  /** The Gateway by which requests come in. */
  readonly gateway: ObjectOf<"Gateway"> | ObjectOf<"KubernetesGateway">;
  readonly host: string;
  /** Of the server. */
  readonly port: number;
  readonly scheme: "http" | "https";
  /** The names of virtual hosts that cover the host, the most specific first. */
  readonly names: readonly VirtualHost[];
  /** Why routes that name the Gateway are not used. */
  readonly dropped: readonly string[];
}

/** What a gateway has under one name. */
export interface VirtualHost {
  /** In the order in which their routes are merged. */
  readonly bound: readonly BoundRoutes[];
  /** Whether all requests over HTTP are redirected to HTTPS. */
  readonly isRedirected: boolean;
}

/** A VirtualService, or what istiod makes of routes of the Gateway API. */
export interface BoundRoutes {
  readonly virtualService: VirtualService;
  /** The Gateway that it is bound to, as `namespace/name`. */
  readonly gateway: string;
  readonly converted?: ConvertedRoutes;
}

/** One route with the VirtualService that it is in, or that istiod makes of an HTTPRoute, and its conditions. */
export interface Entry {
  readonly virtualService: VirtualService;
  readonly httpRoute?: KubernetesRoute | undefined;
  readonly protocol: Protocol;
  readonly index: number;
  readonly route: HttpRoute | StreamRoute;
  readonly cases: readonly RouteCase[];
  /** Why requests to some of its destinations reach nothing, whatever their hosts are. */
  readonly refused?: ReadonlyMap<WeightedDestination, string> | undefined;
}

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
  readonly #host: string;
  readonly #source: Source;
  readonly #isWaypoint: boolean;
  readonly #destinations: Pick<Destinations, "controlPlane">;
  readonly #mesh: View;

  constructor({ source, to, isWaypoint, destinations }: Asked, mesh: View) {
    this.#to = to;
    this.#host = to.host;
    this.#source = source;
    this.#isWaypoint = isWaypoint;
    this.#destinations = destinations;
    this.#mesh = mesh;
  }

  /** The routes that the proxy has for the port, in the order in which it tries them; empty: it routes nothing. A text: why they are not known. */
  of(egress: Egress | undefined, isHidden: boolean): readonly Entry[] | string {
    const { port } = this.#to;
    const client = { namespace: this.#client, labels: this.#source.labels, port, isWaypoint: this.#isWaypoint };
    if (isHidden) {
      const routes = port === 80 ? this.#ofVirtualServices(egress, client) : [];
      return routes.filter(({ protocol }) => protocol === "http");
    }
    const ofGatewayApi = this.#converted(client);
    if (typeof ofGatewayApi === "string") return ofGatewayApi;
    const own = this.#ofVirtualServices(egress, client);
    if (own.length > 0 && ofGatewayApi.length > 0)
      return `a VirtualService and an HTTPRoute both route requests to ${this.#host}, and which of them counts is not examined`;
    return own.length > 0 ? own : ofGatewayApi;
  }

  #converted(client: RouteClient): readonly Entry[] | string {
    const { service, port } = this.#to;
    const { domain } = this.#mesh.settings;
    if (service === undefined) return [];
    const all = this.#mesh
      .related(routesOfParentService, service)
      .filter((one) => isReadBy(one, this.#destinations.controlPlane, this.#mesh.settings));
    const routes =
      all.length === 0 ? undefined : convertedRoutes(all, { service, port, client: client.namespace, domain });
    if (routes === undefined || typeof routes === "string") return routes ?? [];
    return this.#entriesOf(routes.virtualService, "http", client).map((entry) => withOrigin(entry, routes));
  }

  #ofVirtualServices(egress: Egress | undefined, client: RouteClient): readonly Entry[] {
    const { service, port } = this.#to;
    if (service === undefined) return [];
    const all = this.#mesh
      .related(virtualServicesOfService, service)
      .filter(
        (one) =>
          isReadBy(one, this.#destinations.controlPlane, this.#mesh.settings) &&
          egress?.importsVirtualService(one, this.#mesh) !== false,
      );
    if (all.length === 0) return [];
    const declared = service.spec.ports.find((one) => one.port === port);
    const isHttp = declared === undefined || declaredProtocol(declared) !== "TCP";
    const protocols: readonly Protocol[] = isHttp ? ["http"] : [isTlsPort(declared) ? "tls" : "tcp"];
    const entriesOf = (virtualService: VirtualService) =>
      protocols.flatMap((protocol) => this.#entriesOf(virtualService, protocol, client));
    if (this.#isWaypoint || !isHttp) return this.#inOrder(all, isHttp).flatMap(entriesOf);
    return (
      this.#inOrder(all, isHttp)
        .map(entriesOf)
        .find((entries) => entries.length > 0) ?? []
    );
  }

  /**
   * The VirtualServices in the order in which they are tried. Of those with the name of the host, a sidecar takes the first that
   * has a route for it at this port (Istio pilot/pkg/networking/core/route/route.go BuildSidecarVirtualHostWrapper).
   */
  #inOrder(all: readonly VirtualService[], isHttp: boolean): readonly VirtualService[] {
    const { settings } = this.#mesh;
    if (this.#isWaypoint) {
      const namespace = this.#to.service?.metadata.namespace;
      return waypointVirtualServices(this.#client, { host: this.#host, namespace }, all, settings);
    }
    if (!isHttp) return streamVirtualServices(this.#client, all, settings);
    const { used, passedOver } = httpVirtualServiceChoices(this.#client, this.#host, all, settings);
    if (used === undefined) return [];
    if (!hostsOf(used, settings).includes(this.#host)) return [used];
    const others = passedOver.filter(({ because }) => because === "younger" || because === "nearer");
    return [used, ...others.map(({ virtualService }) => virtualService)];
  }

  #entriesOf(virtualService: VirtualService, protocol: Protocol, client: RouteClient): readonly Entry[] {
    if (protocol !== "http")
      return virtualService.spec[protocol].flatMap((route, index) => {
        const cases = streamCases(route, virtualService, client);
        return cases.length === 0 ? [] : [{ virtualService, protocol, index, route, cases }];
      });
    return virtualService.spec.http.flatMap((route, index) => {
      const cases = httpCases(route, virtualService, client);
      if (cases.length === 0) return [];
      const entry: Entry = { virtualService, protocol, index, route, cases };
      return route.delegate === undefined ? [entry] : this.#delegated(entry, route, client);
    });
  }

  /** The routes of the delegate, each with the conditions of both (Istio pilot/pkg/model/virtualservice.go mergeHTTPRoutes). */
  #delegated({ virtualService: root, cases }: Entry, { delegate }: HttpRoute, client: RouteClient): readonly Entry[] {
    const name = `${delegate?.namespace || root.metadata.namespace}/${delegate?.name ?? ""}`;
    const found = this.#mesh.related(delegatesOfRoot, root).find((one) => nameOf(one) === name);
    if (found === undefined) return [];
    const { exportTo } = found.spec;
    const visible = visibleTo(exportTo, found.metadata.namespace, this.#mesh.settings.defaultVirtualServiceExportTo);
    if (!includesNamespace(visible, root.metadata.namespace)) return [];
    return found.spec.http.flatMap((route, index) => {
      const both = httpCases(route, found, client).flatMap((inner) =>
        cases.map((outer) => ({
          clauses: [...outer.clauses, ...inner.clauses],
          isClear: outer.isClear && inner.isClear,
          uri: inner.uri ?? outer.uri,
        })),
      );
      return both.length === 0 ? [] : [{ virtualService: found, protocol: "http", index, route, cases: both } as const];
    });
  }

  /**
   * The routes of all VirtualServices for the host are merged, and those that take every request come last. Of each
   * VirtualService, nothing after such a route counts (Istio
   * pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig, pilot/pkg/networking/core/route/route.go SortVHostRoutes).
   */
  ofGateway({ scheme, names }: GatewayRoutes): readonly Entry[] | "redirected" {
    const { labels } = this.#source;
    const client = { namespace: this.#client, labels, port: this.#to.port, isWaypoint: false, scheme };
    const routesOf = ({ virtualService, gateway, converted }: BoundRoutes) => {
      const own = this.#entriesOf(virtualService, "http", { ...client, gateway });
      const apart = own.flatMap((entry) => entry.cases.map((only) => ({ ...entry, cases: [only] })));
      const last = apart.findIndex(({ cases }) => cases.every(takesAll));
      const all = last < 0 ? apart : apart.slice(0, last + 1);
      return converted === undefined ? all : all.map((entry) => withOrigin(entry, converted));
    };
    // A name for which no VirtualService has a route is not known.
    for (const { bound, isRedirected } of names) {
      const all = bound.flatMap(routesOf);
      if (isRedirected) return "redirected";
      const isLast = ({ cases }: Entry) => cases.every(takesAll);
      if (all.length > 0) return [...all.filter((one) => !isLast(one)), ...all.filter(isLast)];
    }
    return [];
  }

  get #client(): string {
    return this.#source.namespace?.metadata.name ?? "";
  }
}

/** A converted route with the object that the user wrote. */
const withOrigin = (entry: Entry, { from, refused }: ConvertedRoutes): Entry => ({
  ...entry,
  httpRoute: "redirect" in entry.route ? from.get(entry.route) : undefined,
  refused,
});
