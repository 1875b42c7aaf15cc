import { passesThrough, readsHttp, serverHosts, sharingOf } from "../gateways/servers.ts";
import { covers, mostSpecificFirst } from "../traffic/hosts.ts";
import { passedOn, passesOn, streamAt, type StreamChoice, type Surroundings } from "./gateway-streams.ts";
import type { Offer } from "./virtual-hosts.ts";

/** The servers of a port that take a connection. */
export interface Taking {
  readonly offers: readonly Offer[];
  /** What the first of them does with connections; undefined: it reads them as requests. */
  readonly stream: StreamChoice | undefined;
}

/** A filter chain of Envoy for the names that TLS can ask for. */
interface Chain extends Taking {
  readonly name: string;
}

/**
 * The servers that take TLS which asks for a name. Envoy looks for the most specific name among the filter chains of a port, and istiod
 * makes none of a server whose connections have no route: a server that passes TLS on has one for each match of its routes, with the
 * names of the match; one that terminates TLS of connections has one with its own names, if there is a route; one for HTTPS always has
 * one (Istio pilot/pkg/networking/core/gateway.go createGatewayTCPFilterChainOpts). What a port is used for is decided by its
 * first server: behind one for TCP there is nothing, while one for TCP behind others takes what has no name among theirs
 * (pilot/pkg/model/gateway.go mergeGateways). `all`: in the order of their Gateways.
 */
export function takingName(all: readonly Offer[], host: string, surroundings: Surroundings): Taking {
  const [first] = all;
  if (first === undefined) return { offers: [], stream: undefined };
  if (sharingOf(first.server) === "TCP") return { offers: [first], stream: streamAt(first, surroundings) };
  const chains = [...chainsOf(all, host, surroundings)];
  const [best] = chains.toSorted((a, b) => mostSpecificFirst(a.name, b.name));
  if (best === undefined) return withoutChain(all, host, surroundings);
  const rivals = chains.filter(({ name }) => name === best.name).flatMap((one) => [...one.offers]);
  return { offers: [...new Set([...rivals, ...sharingNames(all, best.offers, host)])], stream: best.stream };
}

function* chainsOf(all: readonly Offer[], host: string, surroundings: Surroundings): Iterable<Chain> {
  for (const { offer, name, choice } of passedOn(
    all.filter(({ server }) => passesOn(server)),
    host,
    surroundings,
  ))
    yield { name: name ?? nameFor(offer, host), offers: [offer], stream: choice };
  for (const offer of all) {
    if (passesOn(offer.server)) continue;
    const isOfRequests = readsHttp(offer.server);
    const stream = isOfRequests ? undefined : streamAt(offer, surroundings);
    const isUsed = isOfRequests || passesThrough(offer.server) || mayTake(stream);
    if (isUsed) yield { name: nameFor(offer, host), offers: [offer], stream };
  }
}

/** Servers with the name of the first, of which istiod leaves out all but one, whether or not they have a route. */
const sharingNames = (all: readonly Offer[], [taking]: readonly Offer[], host: string): readonly Offer[] =>
  all.filter((offer) => taking !== undefined && nameFor(offer, host) === nameFor(taking, host));

const mayTake = (choice: StreamChoice | undefined): boolean =>
  choice?.stream !== undefined || choice?.doubt !== undefined;

/** Nothing takes the connection. The server whose name fits best says why. */
function withoutChain(all: readonly Offer[], host: string, surroundings: Surroundings): Taking {
  const [best] = all.toSorted((a, b) => mostSpecificFirst(nameFor(a, host), nameFor(b, host)));
  if (best === undefined) return { offers: [], stream: undefined };
  const found = streamAt(best, surroundings);
  return { offers: [best], stream: { ...found, stream: undefined } };
}

/** The most specific name of a server for a host. One for every name is the only one, and TCP has no names. */
function nameFor({ server, gateway }: Offer, host: string): string {
  if (sharingOf(server) === "TCP") return "*";
  const names = serverHosts(server, gateway.metadata.namespace).map((one) => one.host.toLowerCase());
  if (names.includes("*")) return "*";
  return names.filter((name) => covers(name, host)).sort(mostSpecificFirst)[0] ?? "*";
}
