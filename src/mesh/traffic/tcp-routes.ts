import { containsConnections } from "./tls-routes.ts";
import type { VirtualService } from "./virtual-services.ts";

type TcpRoute = VirtualService["spec"]["tcp"][number];
type Match = TcpRoute["match"][number];

/** A route of `spec.tcp`, and an earlier one that takes all its connections. */
export interface TakenTcpRoute {
  readonly i: number;
  readonly by: TcpRoute;
}

/** So many matches for the same subnets, gateways and port are compared. */
const mostCompared = 32;

/**
 * The tcp routes of a VirtualService that get no connection, because a match of an earlier route accepts whatever each of their
 * matches accepts (Istio pilot/pkg/networking/core/tls.go buildSidecarOutboundTCPFilterChainOpts). Subnets are compared as text.
 */
export function* tcpRoutesTakenWithin({ spec }: VirtualService): Iterable<TakenTcpRoute> {
  const known = new Map<string, { readonly match: Match; readonly route: TcpRoute }[]>();
  let everything: TcpRoute | undefined;
  for (const [i, route] of spec.tcp.entries()) {
    const takers = route.match.map((own) => everything ?? takerOf(own, known));
    const by = takers.includes(undefined) ? undefined : (takers[0] ?? everything);
    if (by !== undefined) yield { i, by };
    if (route.route.length === 0) continue;
    if (route.match.length === 0) everything ??= route;
    for (const match of route.match) add(known, keyOfMatch(match), { match, route });
  }
}

function takerOf(
  own: Match,
  known: ReadonlyMap<string, readonly { readonly match: Match; readonly route: TcpRoute }[]>,
): TcpRoute | undefined {
  for (const key of keysOfWider(own))
    for (const { match, route } of known.get(key) ?? []) if (containsConnections(match, own)) return route;
  return undefined;
}

function add<V>(lists: Map<string, V[]>, key: string, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else if (list.length < mostCompared) list.push(value);
}

const keyOfMatch = ({ destinationSubnets, gateways, port }: Match): string => keyOf(destinationSubnets, gateways, port);
const keyOf = (subnets: readonly string[], gateways: readonly string[], port: number | undefined): string =>
  JSON.stringify([subnets.toSorted(), gateways.toSorted(), port ?? 0]);

/** The keys of the matches that can contain one: with the same subnets, gateways and port, or without them. */
function keysOfWider({ destinationSubnets, gateways, port }: Match): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const subnets of [[], destinationSubnets])
    for (const named of [[], gateways]) for (const number of [0, port]) keys.add(keyOf(subnets, named, number));
  return keys;
}
