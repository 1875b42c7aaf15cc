import { isAddress } from "../objects/ip-address.ts";
import { isLabel, isWildcardDomain } from "./host-syntax.ts";
import { firstOverlaps, HostPatterns } from "./host-patterns.ts";
import { isPort, refuseGateways, refuseHttpRoute, refuseMatch } from "./http-route-validation.ts";
import { type Refusal, Refusals } from "./refusals.ts";
import { isDelegate, meshGateway } from "./virtual-service-clients.ts";
import {
  type HttpRoute,
  type Protocol,
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
export function refusalsOf(virtualService: VirtualService): readonly Refusal[] {
  const { spec } = virtualService;
  const refusals = new Refusals();
  if (spec.http.length + spec.tcp.length + spec.tls.length === 0)
    refusals.add("The VirtualService has no route: it needs http, tcp or tls");
  if (isDelegate(virtualService)) refuseDelegate(virtualService, refusals);
  refuseGateways(spec.gateways, isFromGatewayApi(virtualService), refusals);
  refuseHosts(virtualService, refusals);
  refuseExportTo(virtualService, refusals);
  const refuseRoute = (route: HttpRoute) => refuseHttpRoute(route, isDelegate(virtualService), refusals);
  inEach("http", spec.http, refusals, refuseRoute);
  refuseStreams(virtualService, refusals);
  refuseInRoutes(virtualService, refusals, ({ route }) => refuseWeights(route, refusals));
  if (!isFromGatewayApi(virtualService)) {
    refuseInRoutes(virtualService, refusals, ({ route }) => refuseDestinations("route", route, refusals));
    inEach("http", spec.http, refusals, (route) => refuseMirrors(route, refusals));
  }
  refusals.below(0, "spec");
  return refusals.all;
}

/** Validates each item of a field, and adds the item to the paths of its errors. */
function inEach<T>(field: string, items: readonly T[], refusals: Refusals, look: (item: T, i: number) => void): void {
  for (let i = 0; i < items.length; i++) {
    const { count } = refusals;
    look(items[i] as T, i);
    refusals.below(count, field, i);
  }
}

/** In the order of routesOf. */
function refuseInRoutes(
  { spec }: VirtualService,
  refusals: Refusals,
  look: (route: HttpRoute | StreamRoute) => void,
): void {
  inEach("http", spec.http, refusals, look);
  inEach("tcp", spec.tcp, refusals, look);
  inEach("tls", spec.tls, refusals, look);
}

/**
 * Whether istiod generated it from Gateway API routes, which it validates less strictly (Istio pilot/pkg/model
 * UseGatewaySemantics).
 */
const isFromGatewayApi = ({ metadata }: VirtualService): boolean =>
  metadata.annotations["internal.istio.io/route-semantics"] === "gateway";

function refuseDelegate({ spec }: VirtualService, refusals: Refusals): void {
  for (const field of ["gateways", "tcp", "tls"] as const)
    if (spec[field].length > 0)
      refusals.add(`A VirtualService without hosts is a delegate and cannot have ${field}`, field);
}

function refuseHosts({ spec }: VirtualService, refusals: Refusals): void {
  const isForMesh = spec.gateways.length === 0 || spec.gateways.includes(meshGateway);
  const hasSniHosts = spec.tls.some(({ match }) => match.some(({ sniHosts }) => sniHosts.length > 0));
  const { count } = refusals;
  for (let i = 0; i < spec.hosts.length; i++) {
    const host = spec.hosts[i] as string;
    if (host === "*" && isForMesh)
      refusals.add('Host "*" is not allowed in a VirtualService for the gateway "mesh"', "hosts", i);
    else if (!isHost(host, isForMesh || !hasSniHosts)) refusals.add(`"${host}" is not a host name`, "hosts", i);
  }
  if (refusals.count === count && spec.hosts.length > 1) refuseOverlaps(spec.hosts, refusals);
}

/** istiod compares every host with every other host. */
function refuseOverlaps(hosts: readonly string[], refusals: Refusals): void {
  for (const [i, other] of firstOverlaps(hosts).entries())
    if (other >= 0)
      refusals.add(`Host "${hosts[i]}" is a duplicate: "${hosts[other]}" matches the same names`, "hosts", i);
}

/** IP addresses are allowed as hosts; `outbound_.80_._.host` is allowed at gateways, for routes that are chosen by SNI hosts. */
const isHost = (host: string, isPlain: boolean): boolean =>
  isWildcardDomain(host) || isAddress(host) || (!isPlain && isSniName.test(host));

/** Istio pkg/config/validation/agent/validation.go ValidateWildcardDomainForVirtualServiceBoundToGateway. */
const isSniName = /^outbound_[^_]*[0-9][^_]*_[^_]*_[^_]*[a-zA-Z]/;

function refuseExportTo({ metadata, spec }: VirtualService, refusals: Refusals): void {
  if (spec.exportTo.length === 0) return;
  const known = new Set<string>();
  for (const [i, to] of spec.exportTo.entries()) {
    const namespace = to === "." ? metadata.namespace : to;
    if (known.has(namespace)) refusals.add(`exportTo names "${to}" twice`, "exportTo", i);
    else if (!isExport(to)) refusals.add(`exportTo: "${to}" is not a namespace name`, "exportTo", i);
    known.add(namespace);
  }
  if (known.has("*") && spec.exportTo.length > 1)
    refusals.add('exportTo: "*" must be the only entry, because it means every namespace', "exportTo");
}

const isExport = (to: string): boolean => to === "." || to === "*" || isLabel(to);

function refuseStreams({ spec }: VirtualService, refusals: Refusals): void {
  inEach("tcp", spec.tcp, refusals, (route) => refuseStream("tcp", route, refusals));
  if (spec.tls.length === 0) return;
  const hosts = new HostPatterns(spec.hosts);
  const isForMesh = spec.gateways.includes(meshGateway);
  inEach("tls", spec.tls, refusals, (route) => {
    refuseStream("tls", route, refusals);
    if (route.match.length === 0) refusals.add("A tls route needs a match with sniHosts");
    inEach("match", route.match, refusals, ({ sniHosts }) => refuseSniHosts(sniHosts, { hosts, isForMesh }, refusals));
  });
}

function refuseStream(protocol: Protocol, { route, match }: StreamRoute, refusals: Refusals): void {
  if (route.length === 0) refusals.add(`A ${protocol} route needs a destination`);
  inEach<StreamRoute["match"][number]>("match", match, refusals, ({ port, gateways }) =>
    refuseMatch({ port, gateways, sourceNamespace: undefined }, refusals),
  );
}

/** Istio pkg/config/validation/validation.go validateSniHost: without a list of gateways, names of gateways are allowed, too. */
function refuseSniHosts(
  sniHosts: readonly string[],
  { hosts, isForMesh }: { readonly hosts: HostPatterns; readonly isForMesh: boolean },
  refusals: Refusals,
): void {
  if (sniHosts.length === 0) refusals.add("A tls match needs sniHosts");
  for (const [i, sniHost] of sniHosts.entries())
    if (!isHost(sniHost, isForMesh)) refusals.add(`SNI host "${sniHost}" is not a host name`, "sniHosts", i);
    else if (!isAddress(sniHost) && hosts.over(sniHost) === undefined)
      refusals.add(`SNI host "${sniHost}" is not among the hosts of the VirtualService`, "sniHosts", i);
}

function refuseWeights(destinations: readonly WeightedDestination[], refusals: Refusals): void {
  const { count } = refusals;
  // Istio's sum is an int32.
  let sum = 0;
  for (let i = 0; i < destinations.length; i++) {
    const weight = destinations[i]?.weight ?? 0;
    if (weight < 0) refusals.add(`Weight ${weight} is negative`, "route", i, "weight");
    sum = (sum + weight) | 0;
  }
  if (destinations.length >= 2 && sum === 0 && refusals.count === count)
    refusals.add(`No destination has a weight above 0: ${shownSum(destinations)} = 0`, "route");
}

type Destination = WeightedDestination["destination"];

function refuseDestinations(
  field: string,
  destinations: readonly { readonly destination: Destination }[],
  refusals: Refusals,
): void {
  inEach(field, destinations, refusals, ({ destination }) => refuseDestination("destination", destination, refusals));
}

function refuseDestination(field: string, { host, subset, port }: Destination, refusals: Refusals): void {
  if (host === "") refusals.add("The destination has no host", field);
  else if (host === "*" || !isWildcardDomain(host))
    refusals.add(`"${host}" is not a host that requests can be sent to`, field, "host");
  if (subset && !isLabel(subset)) refusals.add(`"${subset}" is not a subset name`, field, "subset");
  if (port !== undefined && !isPort(port.number ?? 0))
    refusals.add(`Port ${port.number ?? "(not set)"} is not between 1 and 65535`, field, "port");
}

function refuseMirrors({ mirror, mirrors }: HttpRoute, refusals: Refusals): void {
  if (mirror !== undefined) refuseDestination("mirror", mirror, refusals);
  refuseDestinations("mirrors", mirrors, refusals);
}
