import { atGateways, containsConnections, isForGateway, shareConnections } from "./tls-routes.ts";
import { gatewaysOf, meshGateway } from "./virtual-service-clients.ts";
import type { VirtualService } from "./virtual-services.ts";

type TcpRoute = VirtualService["spec"]["tcp"][number];
type Match = TcpRoute["match"][number];

/**
 * A route of `spec.tcp` that an earlier one keeps from its connections.
 * - `taken`: the earlier one takes all of them.
 * - `refused`: both become filter chains for one subnet, so Envoy refuses the listener of sidecars.
 */
export interface LostTcpRoute {
  readonly i: number;
  readonly by: TcpRoute;
  readonly kind: "taken" | "refused";
  /** The subnet of both, if Envoy refuses them. */
  readonly subnet?: string;
}

/** A match, as it is compared, and its route. */
interface Known {
  readonly match: Match;
  readonly route: TcpRoute;
}

/** So many matches for the same gateways and port, or for the same subnet, are compared. */
const mostCompared = 32;

/**
 * The tcp routes of a VirtualService that get no connection, because a match of an earlier route accepts whatever each of their
 * matches accepts, or because sidecars are refused a subnet that both have (Istio pilot/pkg/networking/core/tls.go
 * buildSidecarOutboundTCPFilterChainOpts). Subnets are compared as text.
 */
export function* tcpRoutesLostWithin(virtualService: VirtualService): Iterable<LostTcpRoute> {
  const isInMesh = gatewaysOf(virtualService).has(meshGateway);
  const earlier = new EarlierRoutes(virtualService);
  for (const [i, route] of virtualService.spec.tcp.entries()) {
    const matches = isInMesh ? route.match : route.match.map(atGateways);
    const loss = earlier.lossOf(matches);
    if (loss !== undefined) yield { i, ...loss };
    if (route.route.length > 0) earlier.add(route, matches);
  }
}

type Loss = Omit<LostTcpRoute, "i">;

class EarlierRoutes {
  readonly #virtualService: VirtualService;
  readonly #byPort = new Map<string, Known[]>();
  readonly #bySubnet = new Map<string, Known[]>();
  /** The first one without a match. */
  #everything: TcpRoute | undefined;

  constructor(virtualService: VirtualService) {
    this.#virtualService = virtualService;
  }

  add(route: TcpRoute, matches: readonly Match[]): void {
    if (matches.length === 0) this.#everything ??= route;
    for (const match of matches) {
      const known = { match, route };
      if (match.destinationSubnets.length === 0) add(this.#byPort, keyOf(match.gateways, match.port), known);
      else if (isForGateway(meshGateway, match, this.#virtualService))
        new Set(match.destinationSubnets).forEach((subnet) => add(this.#bySubnet, subnet, known));
    }
  }

  lossOf(matches: readonly Match[]): Loss | undefined {
    const takers = matches.map((own) => this.#everything ?? this.#takerOf(own));
    const by = takers.includes(undefined) ? undefined : (takers[0] ?? this.#everything);
    return by === undefined ? this.#refusalOf(matches) : { by, kind: "taken" };
  }

  #takerOf(own: Match): TcpRoute | undefined {
    for (const key of keysOfWider(own))
      for (const { match, route } of this.#byPort.get(key) ?? []) if (containsConnections(match, own)) return route;
    return undefined;
  }

  /** By the first subnet that an earlier route has for some of the same connections. */
  #refusalOf(matches: readonly Match[]): Loss | undefined {
    for (const own of matches.filter((match) => isForGateway(meshGateway, match, this.#virtualService)))
      for (const subnet of own.destinationSubnets) {
        const same = this.#bySubnet.get(subnet)?.find(({ match }) => shareConnections(match, own));
        if (same !== undefined) return { by: same.route, kind: "refused", subnet };
      }
    return undefined;
  }
}

function add<V>(lists: Map<string, V[]>, key: string, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else if (list.length < mostCompared) list.push(value);
}

const keyOf = (gateways: readonly string[], port: number | undefined): string =>
  JSON.stringify([gateways.toSorted(), port ?? 0]);

/** The keys of the matches without subnets that can contain one: with the same gateways and port, or without them. */
function keysOfWider({ gateways, port }: Match): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const named of [[], gateways]) for (const number of [0, port]) keys.add(keyOf(named, number));
  return keys;
}
