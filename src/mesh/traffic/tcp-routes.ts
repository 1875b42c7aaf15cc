import { containsConnections, isForGateway, shareConnections } from "./tls-routes.ts";
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
 * buildSidecarOutboundTCPFilterChainOpts). Gateways ask for ports and for gateways alone (pilot/pkg/networking/core/gateway.go
 * l4SingleMatch). Subnets are compared as text.
 */
export function* tcpRoutesLostWithin(virtualService: VirtualService): Iterable<LostTcpRoute> {
  const isInMesh = gatewaysOf(virtualService).has(meshGateway);
  const known = new Map<string, Known[]>();
  const bySubnet = new Map<string, Known[]>();
  let everything: TcpRoute | undefined;
  for (const [i, route] of virtualService.spec.tcp.entries()) {
    const matches = isInMesh ? route.match : route.match.map(asAtGateways);
    const takers = matches.map((own) => everything ?? takerOf(own, known));
    const by = takers.includes(undefined) ? undefined : (takers[0] ?? everything);
    if (by !== undefined) yield { i, by, kind: "taken" };
    if (route.route.length === 0) continue;
    const refused = by === undefined ? refusalOf(matches, bySubnet) : undefined;
    if (refused !== undefined) yield { i, kind: "refused", ...refused };
    if (route.match.length === 0) everything ??= route;
    for (const match of matches) {
      if (match.destinationSubnets.length === 0) add(known, keyOfMatch(match), { match, route });
      else if (isForGateway(meshGateway, match, virtualService))
        for (const subnet of new Set(match.destinationSubnets)) add(bySubnet, subnet, { match, route });
    }
  }
}

const asAtGateways = (match: Match): Match => ({
  ...match,
  destinationSubnets: [],
  sourceLabels: {},
  sourceNamespace: undefined,
});

/** The first subnet that an earlier route has for some of the same connections. */
function refusalOf(
  matches: readonly Match[],
  bySubnet: ReadonlyMap<string, readonly Known[]>,
): Pick<LostTcpRoute, "by" | "subnet"> | undefined {
  for (const own of matches)
    for (const subnet of own.destinationSubnets)
      for (const { match, route } of bySubnet.get(subnet) ?? [])
        if (areForSidecars(match, own) && shareConnections(match, own)) return { by: route, subnet };
  return undefined;
}

const areForSidecars = (...matches: readonly Match[]): boolean =>
  matches.every(({ gateways }) => gateways.length === 0 || gateways.includes(meshGateway));

function takerOf(own: Match, known: ReadonlyMap<string, readonly Known[]>): TcpRoute | undefined {
  for (const key of keysOfWider(own))
    for (const { match, route } of known.get(key) ?? []) if (containsConnections(match, own)) return route;
  return undefined;
}

function add<V>(lists: Map<string, V[]>, key: string, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else if (list.length < mostCompared) list.push(value);
}

const keyOfMatch = ({ gateways, port }: Match): string => keyOf(gateways, port);
const keyOf = (gateways: readonly string[], port: number | undefined): string =>
  JSON.stringify([gateways.toSorted(), port ?? 0]);

/** The keys of the matches without subnets that can contain one: with the same gateways and port, or without them. */
function keysOfWider({ gateways, port }: Match): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const named of [[], gateways]) for (const number of [0, port]) keys.add(keyOf(named, number));
  return keys;
}
