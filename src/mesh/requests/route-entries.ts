import type { MeshView } from "../../view/view.ts";
import type { ConvertedRoutes } from "../gateways/converted-rules.ts";
import { delegatedRoutes, delegateOfRoute } from "../traffic/delegate-routes.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { delegatesOfRoot } from "../traffic/virtual-service-clients.ts";
import type { HttpRoute, Protocol, VirtualService } from "../traffic/virtual-services.ts";
import { httpRoutesFor } from "./routes-by-labels.ts";
import { isForSidecars, type MadeOfRoutes, type RoutesOfHost } from "./gateway-api-routes.ts";
import { httpCases, type RouteClient, streamCases } from "./route-conditions.ts";
import type { Entry, HostPort } from "./table-entries.ts";

/** What the routes of a VirtualService consist of, beside itself. */
export const routeEntryReads = [delegatesOfRoot] as const;
type View = MeshView<(typeof routeEntryReads)[number]>;

/** The routes that one VirtualService has for a host: its own, and those of its delegates. */
export class RouteEntries {
  readonly #to: HostPort;
  readonly #gatewayApi: RoutesOfHost;
  readonly #mesh: View;

  constructor(to: HostPort, gatewayApi: RoutesOfHost, mesh: View) {
    this.#to = to;
    this.#gatewayApi = gatewayApi;
    this.#mesh = mesh;
  }

  /** Of those for HTTP, of TCP or of TLS, the routes with conditions that requests of the client can meet, in their order. */
  of(virtualService: VirtualService, protocol: Protocol, client: RouteClient): readonly Entry[] {
    if (protocol !== "http")
      return virtualService.spec[protocol].flatMap((route, index) => {
        const cases = streamCases({ route, protocol }, virtualService, client);
        return cases.length === 0 ? [] : [this.withOrigin({ virtualService, protocol, index, route, cases })];
      });
    if (!this.#usesForHttp(virtualService, client)) return [];
    const found: Entry[] = [];
    for (const [index, route] of httpRoutesFor(virtualService, client.labels)) {
      if (route.delegate !== undefined) {
        for (const entry of this.#delegated(virtualService, route, client)) found.push(entry);
        continue;
      }
      const cases = httpCases(route, virtualService, client);
      if (cases.length > 0) found.push(this.withOrigin({ virtualService, protocol, index, route, cases }));
    }
    return found;
  }

  #usesForHttp(virtualService: VirtualService, { namespace, isWaypoint, gateway }: RouteClient): boolean {
    const { definition, alias, name } = this.#to;
    const of = alias ?? definition;
    if (isWaypoint || gateway !== undefined || of === undefined) return true;
    const { settings } = this.#mesh;
    const known = alias === undefined ? name : hostOfService(alias, settings.domain);
    return isForSidecars(virtualService, { definition: of, name: known, client: namespace }, settings);
  }

  /** With the route of the Gateway API that the user wrote. */
  withOrigin(entry: Entry): Entry {
    const made = this.#gatewayApi.made.get(entry.virtualService);
    return made === undefined ? entry : withOrigin(entry, made);
  }

  /** The routes of the delegate, as they are in effect through the route of the root. */
  #delegated(root: VirtualService, route: HttpRoute, client: RouteClient): readonly Entry[] {
    const { settings } = this.#mesh;
    const found = delegateOfRoute(route, root, this.#mesh);
    if (found === undefined) return [];
    return delegatedRoutes(root, route, found, settings).flatMap((one) => {
      const cases = httpCases(one.route, found, client);
      return cases.length === 0 ? [] : [{ virtualService: found, protocol: "http", ...one, cases } as const];
    });
  }
}

/** A converted route with the object that the user wrote. */
export const withOrigin = (
  entry: Entry,
  { origins, refused, object }: Omit<ConvertedRoutes, "virtualService"> & Partial<Pick<MadeOfRoutes, "object">>,
): Entry => ({
  ...entry,
  httpRoute: ("redirect" in entry.route ? origins.get(entry.route)?.object : undefined) ?? object,
  refused,
});
