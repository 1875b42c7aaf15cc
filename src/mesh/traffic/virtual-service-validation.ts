import type { Path } from "../../kube/read.ts";
import { isLabel, isWildcardDomain, mayBeAddress } from "./host-syntax.ts";
import { covers, overlaps } from "./hosts.ts";
import { isPort, type Refusal, refusedGateways, refusedHttpRoute, refusedMatch } from "./http-route-validation.ts";
import { isDelegate, meshGateway } from "./virtual-service-clients.ts";
import {
  type Protocol,
  routesOf,
  shownSum,
  type StreamRoute,
  type VirtualService,
  type WeightedDestination,
} from "./virtual-services.ts";

/**
 * The errors that istiod's validation reports for a VirtualService (Istio pkg/config/validation/validation.go
 * ValidateVirtualService, virtualservice.go). Regular expressions, header names and values, durations, CORS policies and
 * source labels are not checked.
 */
export function* refusals(virtualService: VirtualService): Iterable<Refusal> {
  const { spec } = virtualService;
  if (spec.http.length + spec.tcp.length + spec.tls.length === 0)
    yield { at: ["spec"], message: "The VirtualService has no route: it needs http, tcp or tls" };
  if (isDelegate(virtualService)) yield* refusedDelegate(virtualService);
  yield* refusedGateways(spec.gateways, ["spec", "gateways"], isFromGatewayApi(virtualService));
  yield* refusedHosts(virtualService);
  yield* refusedExportTo(virtualService);
  for (const [i, route] of spec.http.entries())
    yield* refusedHttpRoute(route, ["spec", "http", i], isDelegate(virtualService));
  yield* refusedStreams(virtualService);
  for (const { at, destinations } of routesOf(virtualService)) yield* refusedWeights(destinations, at);
  if (isFromGatewayApi(virtualService)) return;
  for (const { at, destinations } of routesOf(virtualService))
    for (const [i, { destination }] of destinations.entries())
      yield* refusedDestination(destination, [...at, i, "destination"]);
  yield* refusedMirrors(virtualService);
}

/**
 * Whether istiod generated it from Gateway API routes, which it validates less strictly (Istio pilot/pkg/model
 * UseGatewaySemantics).
 */
const isFromGatewayApi = ({ metadata }: VirtualService): boolean =>
  metadata.annotations["internal.istio.io/route-semantics"] === "gateway";

function* refusedDelegate({ spec }: VirtualService): Iterable<Refusal> {
  for (const field of ["gateways", "tcp", "tls"] as const)
    if (spec[field].length > 0)
      yield { at: ["spec", field], message: `A VirtualService without hosts is a delegate and has no ${field}` };
}

function* refusedHosts({ spec }: VirtualService): Iterable<Refusal> {
  const isForMesh = spec.gateways.length === 0 || spec.gateways.includes(meshGateway);
  const invalid = [...spec.hosts.entries()].filter(([, host]) => !isHost(host) || (host === "*" && isForMesh));
  for (const [i, host] of invalid) {
    const message = host === "*" ? 'Host "*" is not allowed in a VirtualService for the gateway "mesh"' : undefined;
    yield { at: ["spec", "hosts", i], message: message ?? `"${host}" is not a host name` };
  }
  if (invalid.length === 0) yield* refusedPairs(spec.hosts.slice(0, maxCompared));
}

/** The most hosts that are compared with each other, as istiod does, because the time is quadratic. */
const maxCompared = 1000;

function* refusedPairs(hosts: readonly string[]): Iterable<Refusal> {
  for (const [i, host] of hosts.entries()) {
    const other = hosts.find((earlier, j) => j < i && overlaps(earlier, host));
    if (other === undefined) continue;
    const message = `Host "${host}" is a duplicate: "${other}" matches the same names`;
    yield { at: ["spec", "hosts", i], message };
  }
}

/** IP addresses are allowed as hosts; `outbound_.80_._.host` is allowed at gateways that pass TLS through. */
const isHost = (host: string): boolean => isWildcardDomain(host) || mayBeAddress(host) || host.startsWith("outbound_");

function* refusedExportTo({ metadata, spec }: VirtualService): Iterable<Refusal> {
  const known = new Set<string>();
  for (const [i, to] of spec.exportTo.entries()) {
    const at = ["spec", "exportTo", i];
    const namespace = to === "." ? metadata.namespace : to;
    if (known.has(namespace)) yield { at, message: `exportTo names "${to}" twice` };
    else if (!isExport(to)) yield { at, message: `exportTo: "${to}" is not a namespace name` };
    known.add(namespace);
  }
  if (known.has("*") && spec.exportTo.length > 1)
    yield {
      at: ["spec", "exportTo"],
      message: 'exportTo: "*" must be the only entry, because it means every namespace',
    };
}

const isExport = (to: string): boolean => to === "." || to === "*" || isLabel(to);

function* refusedStreams({ spec }: VirtualService): Iterable<Refusal> {
  for (const [i, route] of spec.tcp.entries()) yield* refusedStream("tcp", route, ["spec", "tcp", i]);
  for (const [i, route] of spec.tls.entries()) {
    const at: Path = ["spec", "tls", i];
    yield* refusedStream("tls", route, at);
    if (route.match.length === 0) yield { at, message: "A tls route needs a match with sniHosts" };
    for (const [j, { sniHosts }] of route.match.entries())
      yield* refusedSniHosts(sniHosts, spec.hosts, [...at, "match", j]);
  }
}

function* refusedStream(protocol: Protocol, { route, match }: StreamRoute, at: Path): Iterable<Refusal> {
  if (route.length === 0) yield { at, message: `A ${protocol} route needs a destination` };
  for (const [i, { port, gateways }] of match.entries())
    yield* refusedMatch({ port, gateways, sourceNamespace: undefined }, [...at, "match", i]);
}

function* refusedSniHosts(sniHosts: readonly string[], hosts: readonly string[], at: Path): Iterable<Refusal> {
  if (sniHosts.length === 0) yield { at, message: "A tls match needs sniHosts" };
  for (const [i, sniHost] of sniHosts.entries())
    if (!mayBeAddress(sniHost) && !hosts.some((host) => covers(host, sniHost)))
      yield {
        at: [...at, "sniHosts", i],
        message: `SNI host "${sniHost}" is not among the hosts of the VirtualService`,
      };
}

function* refusedWeights(destinations: readonly WeightedDestination[], at: Path): Iterable<Refusal> {
  for (const [i, { weight }] of destinations.entries())
    if (weight !== undefined && weight < 0) yield { at: [...at, i, "weight"], message: `Weight ${weight} is negative` };
  if (destinations.length < 2 || destinations.some(({ weight }) => (weight ?? 0) < 0)) return;
  // Istio's sum is an int32.
  const sum = destinations.reduce((total, { weight }) => (total + (weight ?? 0)) | 0, 0);
  if (sum === 0) yield { at, message: `No destination has a weight above 0: ${shownSum(destinations)} = 0` };
}

type Destination = WeightedDestination["destination"];

function* refusedDestination({ host, subset, port }: Destination, at: Path): Iterable<Refusal> {
  if (host === "") yield { at, message: "The destination has no host" };
  else if (host === "*" || !isWildcardDomain(host))
    yield { at: [...at, "host"], message: `"${host}" is not a host that requests can be sent to` };
  if (subset && !isLabel(subset)) yield { at: [...at, "subset"], message: `"${subset}" is not a subset name` };
  if (port !== undefined && !isPort(port.number ?? 0))
    yield { at: [...at, "port"], message: `Port ${port.number ?? "(not set)"} is not between 1 and 65535` };
}

function* refusedMirrors({ spec }: VirtualService): Iterable<Refusal> {
  for (const [i, { mirror, mirrors }] of spec.http.entries()) {
    if (mirror !== undefined) yield* refusedDestination(mirror, ["spec", "http", i, "mirror"]);
    for (const [j, { destination }] of mirrors.entries())
      yield* refusedDestination(destination, ["spec", "http", i, "mirrors", j, "destination"]);
  }
}
