import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Service } from "../membership/services.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { fullHost, hostOfService } from "../traffic/hosts.ts";
import { entriesOfVirtualService, servicesOfVirtualService } from "../traffic/registry.ts";
import { hostsOf } from "../traffic/virtual-service-choices.ts";
import { type Protocol, shareOf, type VirtualService, type WeightedDestination } from "../traffic/virtual-services.ts";
import { isAlias } from "../traffic/aliased-hosts.ts";
import { portNumbersOf, portOfDefinition } from "./definitions.ts";
import { type Arrival, type Named, noArrival } from "./arrival.ts";
import { type Destinations, destinationReads } from "./destinations.ts";
import { type HeaderChanges, headerChanges } from "./header-changes.ts";
import type { RouteOutcome, Source } from "./outcome.ts";
import { endOf } from "./route-effects.ts";
import type { Entry, HostPort } from "./table-entries.ts";
import { isWaypointOf } from "./waypoint-hops.ts";

/** What `RouteDestinations` reads. */
export const routeDestinationReads = [...destinationReads, servicesOfVirtualService, entriesOfVirtualService] as const;
type View = MeshView<(typeof routeDestinationReads)[number]>;

/** The proxy that has the routes, and what its requests are sent to. */
interface Asked {
  readonly source: Source;
  readonly to: HostPort;
  readonly isWaypoint: boolean;
  readonly destinations: Destinations;
}

/** What becomes of requests that follow a route. */
interface Followed {
  readonly route: RouteOutcome;
  /** One for each of its destinations, in the same order. */
  readonly arrivals: readonly Arrival[];
}

/** Where the routes of one proxy for a host lead. */
export class RouteDestinations {
  readonly #to: HostPort;
  readonly #source: Source;
  readonly #isWaypoint: boolean;
  readonly #destinations: Destinations;
  readonly #mesh: View;
  readonly #follows = new Map<Entry, Followed>();

  constructor({ source, to, isWaypoint, destinations }: Asked, mesh: View) {
    this.#to = to;
    this.#source = source;
    this.#isWaypoint = isWaypoint;
    this.#destinations = destinations;
    this.#mesh = mesh;
  }

  /** Parts of the requests that follow the same route share what becomes of them. */
  of(entry: Entry): Followed {
    let found = this.#follows.get(entry);
    if (found === undefined) this.#follows.set(entry, (found = this.#follow(entry)));
    return found;
  }

  #follow(entry: Entry): Followed {
    const { route } = entry;
    const of = { host: this.#to.host, ...takenBy(this.#to), ...objectsOf(entry), route: placeOf(entry) };
    const ended = "redirect" in route ? endOf(route) : undefined;
    if (ended !== undefined)
      return {
        route: { ...of, result: "nowhere", destinations: [], because: ended },
        arrivals: [],
      };
    const ofRoute = "headers" in route ? route.headers : undefined;
    const arrivals = route.route
      .map((weighted) => [this.#named(weighted, entry), weighted] as const)
      .filter(([{ share }]) => share > 0)
      .map(([named, weighted]) => {
        const refused = entry.refused?.get(weighted);
        const arrival =
          refused === undefined ? this.#reached(this.#destinations.arrivalAt(named), entry) : noArrival(named, refused);
        return withHeaders(arrival, headerChanges(ofRoute, "headers" in weighted ? weighted.headers : undefined));
      });
    const because = arrivals.length === 0 ? "the route has no destination with a weight" : undefined;
    const result = arrivals.length === 0 ? "nowhere" : resultOf(arrivals);
    const destinations = arrivals.map(({ destination }) => destination);
    return { route: { ...of, result, destinations, because }, arrivals };
  }

  /**
   * A waypoint has the services behind it, and those to which a VirtualService sends requests that names one of these as its host, and
   * not by a wildcard (Istio pilot/pkg/networking/core/waypoint.go filterWaypointOutboundServices).
   */
  #reached(arrival: Arrival, { virtualService }: Entry): Arrival {
    const { definition, name } = this.#to;
    const to = arrival.backend?.object;
    if (!this.#isWaypoint || definition === undefined || to === undefined) return arrival;
    if (hostsOf(virtualService, this.#mesh.settings).includes(name)) return arrival;
    if (isWaypointOf(this.#source, to, this.#mesh)) return arrival;
    const destination = { ...arrival.destination, because: `${idOf(to)} ${notOfWaypoint}` };
    return { ...arrival, destination, backend: undefined, isUnknown: true };
  }

  /** A sidecar reads HTTP routes knowing only the port that it was asked for (Istio pilot/pkg/networking/core/httproute.go). */
  #onlyPort(definition: Definition | undefined, protocol: Protocol): number | undefined {
    if (protocol === "http" && !this.#isWaypoint && !this.#source.isGateway) return undefined;
    const [only, another] = definition === undefined ? [] : portNumbersOf(definition);
    return another === undefined ? only : undefined;
  }

  #named(weighted: WeightedDestination, entry: Entry): Named {
    const { virtualService, route, protocol } = entry;
    const { metadata } = virtualService;
    const host = fullHost(weighted.destination.host, metadata.namespace, this.#mesh.settings.domain);
    const objects = this.#definitionsOf(host, virtualService);
    const [only] = objects;
    const isHidden = only?.kind === "Service" && protocol === "http" && this.#isAliasElsewhere(only);
    const { subset, port } = weighted.destination;
    return {
      host,
      port: port?.number ?? this.#onlyPort(objects.length === 1 ? only : undefined, protocol) ?? this.#to.port,
      subset: subset || undefined,
      share: shareOf(weighted, { destinations: route.route }),
      objects,
      isRouted: this.#isCollected(entry),
      by: objectsOf(entry).virtualService,
      ...(isHidden ? { missing: `${idOf(only)} has no port ${this.#to.port}, at which the route is` } : {}),
    };
  }

  /**
   * Whether istiod looks for what a route names on behalf of the client: of several conditions, one without a namespace does not count
   * beside one for another namespace (Istio pilot/pkg/model/push_context.go virtualServiceDestinationsFilteredBySourceNamespace).
   */
  #isCollected({ route, protocol }: Entry): boolean {
    const named = new Set(
      protocol === "http" ? route.match.flatMap(({ sourceNamespace }) => sourceNamespace || []) : [],
    );
    return named.size === 0 || named.has(this.#destinations.scope.client);
  }

  /** What defines a host that a VirtualService names. */
  #definitionsOf(host: string, virtualService: VirtualService): readonly Definition[] {
    const { definition: own, alias } = this.#to;
    const services = [
      ...(own?.kind === "Service" ? [own] : []),
      ...(alias === undefined ? [] : [alias]),
      ...this.#mesh.related(servicesOfVirtualService, virtualService),
    ];
    const service = services.find((one) => hostOfService(one, this.#mesh.settings.domain) === host);
    if (service !== undefined) return [service];
    const entries = this.#mesh.related(entriesOfVirtualService, virtualService);
    return entries.filter(({ spec }) => spec.hosts.includes(host));
  }

  /** A sidecar finds an alias among the hosts of the port at which the route is. */
  #isAliasElsewhere(service: Service): boolean {
    if (!isAlias(service) || this.#isWaypoint || this.#source.isGateway) return false;
    return portOfDefinition(service, this.#to.port) === undefined;
  }
}

const notOfWaypoint =
  "is not behind the waypoint, which has it only if a VirtualService without a wildcard sends requests there";

/** The ServiceEntry that takes the connections, if it is for another host than they are sent to. */
export const takenBy = ({ asked, definition }: HostPort): Pick<RouteOutcome, "takenBy"> =>
  asked === undefined || definition?.kind !== "ServiceEntry" ? {} : { takenBy: definition };

/** The object that the user wrote. */
export const objectsOf = (entry: Entry | undefined): Pick<RouteOutcome, "virtualService" | "httpRoute"> => ({
  virtualService: entry?.httpRoute === undefined ? entry?.virtualService : undefined,
  httpRoute: entry?.httpRoute,
});

export const placeOf = ({ protocol, index, route }: Entry): RouteOutcome["route"] => ({
  protocol,
  index,
  name: ("name" in route && route.name) || "",
});

function withHeaders(arrival: Arrival, headers: HeaderChanges | undefined): Arrival {
  return headers === undefined ? arrival : { ...arrival, destination: { ...arrival.destination, headers } };
}

export function resultOf(arrivals: readonly Arrival[]): RouteOutcome["result"] {
  if (arrivals.some(({ backend }) => backend !== undefined)) return "arrives";
  return arrivals.some(({ isUnknown }) => isUnknown) ? "undecided" : "nowhere";
}
