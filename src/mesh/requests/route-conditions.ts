import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Clause } from "../authorization/requests/boxes.ts";
import { Lists } from "../authorization/requests/lists.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { anything, anyText, exactly, Pattern, startingWith } from "../authorization/requests/patterns.ts";
import { partOf, Texts } from "../authorization/requests/texts.ts";
import { type RoutePorts, routePortsOfDefinition, type RouteUse } from "../gateways/route-ports.ts";
import { selects } from "../objects/selectors.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { hostOfService, mostSpecificFirst } from "../traffic/hosts.ts";
import { fullGatewayName, meshGateway } from "../traffic/virtual-service-clients.ts";
import type { HttpRoute, StreamRoute, Traffic, VirtualService } from "../traffic/virtual-services.ts";
import { patternsOfExpression } from "./regular-expressions.ts";

type HttpMatch = HttpRoute["match"][number];
type StreamMatch = StreamRoute["match"][number];
type StringMatch = HttpMatch["uri"];

/** One match of a route, as a set of requests. */
export interface RouteCase {
  readonly clauses: Clauses;
  /** False: the requests have to meet more than the clauses, which cannot be expressed; then it is not known which do. */
  readonly isClear: boolean;
  /** What a rewrite of the path replaces. */
  readonly uri: StringMatch;
  /** The name that TLS has to ask for; undefined: any, or the route is none of tls. */
  readonly sni?: string;
}

/** The proxy that has the routes: its namespace, the labels of its pod, and the port of the listener. */
export interface RouteClient {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly port: number;
  /** A waypoint has no route for single clients of a Service. */
  readonly isWaypoint: boolean;
  /** The Gateway, as `namespace/name`, whose routes a gateway has; undefined: it is no gateway. */
  readonly gateway?: string;
  /** Undefined: `http`. */
  readonly scheme?: "http" | "https";
}

const everything: RouteCase = { clauses: [], isClear: true, uri: undefined };
const onlyEverything: readonly RouteCase[] = [everything];
const noCases: readonly RouteCase[] = [];

/**
 * The matches of an HTTP route that count for a proxy; empty: it does not have the route (Istio
 * pilot/pkg/networking/core/route/route.go TranslateRoute, sourceMatchHTTP, TranslateRouteMatch).
 */
export function httpCases(route: HttpRoute, { metadata }: VirtualService, client: RouteClient): readonly RouteCase[] {
  if (route.match.length === 0) return onlyEverything;
  // Without a list for each route, because very many routes can be for other clients.
  let found: RouteCase[] | undefined;
  for (const match of route.match)
    if (isForProxy(match, metadata.namespace, client)) (found ??= []).push(httpCase(match, client.scheme ?? "http"));
  return found ?? noCases;
}

function isForProxy(match: HttpMatch, namespace: string, client: RouteClient): boolean {
  if (client.isWaypoint && Object.keys(match.sourceLabels).length > 0) return false;
  if (match.port && match.port !== client.port) return false;
  if (match.gateways.length > 0) return isFor(client.gateway ?? meshGateway, match.gateways, namespace);
  return selects(match.sourceLabels, client.labels) && isFrom(match.sourceNamespace, client);
}

/** Whether a match takes all requests, so that a gateway tries it last (Istio pilot/pkg/networking/core/route/route.go IsCatchAllRoute). */
export function takesAll({ clauses, isClear, uri }: RouteCase): boolean {
  if (!isClear || clauses.includes(nothing)) return false;
  return clauses.length === 0 || (clauses.length === 1 && (uri?.prefix === "/" || uri?.regex === ".*"));
}

/** The same for a route of tcp or tls (pilot/pkg/networking/core/tls.go matchTCP, matchTLS). */
export function streamCases(
  { route, protocol }: { readonly route: StreamRoute; readonly protocol: "tcp" | "tls" },
  { metadata }: VirtualService,
  client: RouteClient,
): readonly RouteCase[] {
  if (route.route.length === 0) return [];
  // A route of TLS has a connection only by a match (buildSidecarOutboundTLSFilterChainOpts).
  if (route.match.length === 0) return protocol === "tls" ? [] : [everything];
  return route.match.flatMap((match: StreamMatch): readonly RouteCase[] => {
    if (match.port && match.port !== client.port) return [];
    if (match.gateways.length > 0 && !isFor(meshGateway, match.gateways, metadata.namespace)) return [];
    if (!selects(match.sourceLabels, client.labels) || !isFrom(match.sourceNamespace, client)) return [];
    const isClear = match.destinationSubnets.length === 0;
    const names = "sniHosts" in match ? match.sniHosts.map((name) => name.toLowerCase()) : [];
    if (names.length === 0 || names.includes("*")) return [{ clauses: [], isClear, uri: undefined }];
    return names.map((sni) => {
      const clauses = [clause("sni", new Texts([[partOf(sniOf(sni))]]))];
      return { clauses, isClear, uri: undefined, sni };
    });
  });
}

/**
 * Whether a route of tcp or tls takes the connections that a waypoint has for a port of a host: it has no condition that depends on the
 * client or on what TLS asks for, but for the host itself (Istio pilot/pkg/networking/core/listener_waypoint.go
 * getTLSRouteMatch, getTCPRouteMatch).
 */
export function takesAtWaypoint(
  { route, protocol }: { readonly route: StreamRoute; readonly protocol: "tcp" | "tls" },
  { host, port }: { readonly host: string; readonly port: number },
): boolean {
  if (route.match.length === 0) return true;
  return route.match.some(
    (match: StreamMatch) => (protocol === "tcp" || onlySniHost(match) === host) && isForEveryClient(match, port),
  );
}

function onlySniHost(match: StreamMatch): string | undefined {
  const names = "sniHosts" in match ? match.sniHosts : [];
  return names.length === 1 ? names[0] : undefined;
}

function isForEveryClient(
  { sourceLabels, sourceNamespace, gateways, port: wanted }: StreamMatch,
  port: number,
): boolean {
  const isInMesh = gateways.length === 0 || gateways.includes(meshGateway);
  return Object.keys(sourceLabels).length === 0 && !sourceNamespace && isInMesh && (!wanted || wanted === port);
}

/** What a waypoint, in a namespace, serves: its hosts, and the ports of each with the routes that it uses there. */
export class ServedHosts {
  readonly #namespace: string;
  readonly #byHost = new Map<string, RoutePorts[]>();
  readonly #http = new Set<number>();
  readonly #streams = new Set<number>();

  constructor(namespace: string, definitions: readonly Definition[], domain: string) {
    this.#namespace = namespace;
    for (const definition of definitions) this.#add(definition, domain);
  }

  #add(definition: Definition, domain: string): void {
    const ports = routePortsOfDefinition(definition);
    for (const host of definition.kind === "Service" ? [hostOfService(definition, domain)] : definition.spec.hosts) {
      const known = this.#byHost.get(host);
      if (known === undefined) this.#byHost.set(host, [ports]);
      else known.push(ports);
    }
    for (const [port, uses] of ports) {
      if (uses.has("http")) this.#http.add(port);
      if (isForStreams(uses)) this.#streams.add(port);
    }
  }

  /**
   * Whether the waypoint has this route at some port of a host. It leaves out http routes whose matches are all for gateways, for the
   * labels of clients, for clients of other namespaces or for other ports, and has those of http at no port for TCP alone (Istio
   * pilot/pkg/networking/core/listener_waypoint.go waypointInboundRoute; route/route.go TranslateRoute).
   */
  hasRoute({ route, protocol }: Pick<Traffic, "route" | "protocol">, virtualService: VirtualService): boolean {
    if (protocol === "http")
      return [...this.#http].some((port) => {
        const client = { namespace: this.#namespace, labels: {}, port, isWaypoint: true };
        return httpCases(route as HttpRoute, virtualService, client).length > 0;
      });
    const { match } = route as StreamRoute;
    const all = [...this.#streams];
    if (match.length === 0) return all.length > 0;
    // A match of tls is for one host, by its name.
    return match.some((one: StreamMatch) => {
      const ports = protocol === "tcp" ? all : this.#streamPorts(onlySniHost(one));
      return ports.some((port) => isForEveryClient(one, port));
    });
  }

  #streamPorts(host: string | undefined): readonly number[] {
    const found = host === undefined ? [] : (this.#byHost.get(host) ?? []);
    return found.flatMap((ports) => [...ports].flatMap(([port, uses]) => (isForStreams(uses) ? [port] : [])));
  }
}

const isForStreams = (uses: ReadonlySet<RouteUse>): boolean => uses.has("tcp") || uses.has("tls");

/**
 * Sorts the cases of routes of tls as a sidecar tries them, whatever their order is: Envoy looks for the filter chain with the
 * address first, and then for that with the most specific name. Of several with one name, it is the first.
 */
export const bestNameFirst = (a: RouteCase, b: RouteCase): number =>
  Number(a.isClear) - Number(b.isClear) || mostSpecificFirst(a.sni ?? "*", b.sni ?? "*");

const isFor = (name: string, gateways: readonly string[], namespace: string): boolean =>
  gateways.some((gateway) => fullGatewayName(gateway, namespace) === name);
const isFrom = (asked: string | undefined, { namespace }: RouteClient): boolean => !asked || asked === namespace;
const sniOf = (name: string): Pattern => (name.startsWith("*") ? new Pattern([anyText, name.slice(1)]) : exactly(name));
const clause = (attribute: Attribute, values: Clause["values"], not = false): Clause => ({ attribute, values, not });

/** What a condition is about, and whether it is negated. */
type About = readonly [attribute: Attribute, not: boolean];

/** A route that no request matches is there nevertheless, so that the host has routes. */
const nothing: Clause = { attribute: "path", values: new Texts([]), not: false };

const cases = { http: new WeakMap<HttpMatch, RouteCase>(), https: new WeakMap<HttpMatch, RouteCase>() };

/** The same for every client and every question, of which there can be very many. */
function httpCase(match: HttpMatch, sent: "http" | "https"): RouteCase {
  let found = cases[sent].get(match);
  if (found === undefined) cases[sent].set(match, (found = caseOf(match, sent)));
  return found;
}

function caseOf(match: HttpMatch, sent: "http" | "https"): RouteCase {
  const { scheme } = match;
  if (scheme?.exact === (sent === "http" ? "https" : "http"))
    return { clauses: [nothing], isClear: true, uri: match.uri };
  const clauses: Clause[] = [];
  let isClear = (scheme === undefined || scheme.exact === sent) && !dependsOnCase(match.authority);
  for (const [condition, [attribute, not]] of conditionsOf(match)) {
    const patterns = condition === "inexpressible" ? undefined : patternsOf(condition);
    if (patterns === undefined) isClear = false;
    else clauses.push(clause(attribute, setOf(attribute, patterns), not));
  }
  return { clauses, isClear, uri: match.uri };
}

const setOf = (attribute: Attribute, patterns: readonly Pattern[]): Clause["values"] =>
  isList(attribute) ? new Lists(patterns) : new Texts(patterns.map((one) => [partOf(one)]));
const isList = (attribute: Attribute): boolean => attribute.startsWith("header ") || attribute.startsWith("query ");

function* conditionsOf(match: HttpMatch): Iterable<readonly [StringMatch | "inexpressible", About]> {
  const { uri, method, authority } = match;
  if (uri !== undefined) yield [ignoresCase(match) ? "inexpressible" : uri, ["path", false]];
  if (method !== undefined) yield [method, ["method", false]];
  if (authority !== undefined) yield [inLowerCase(authority), ["host", false]];
  for (const [name, value] of Object.entries(match.headers)) yield headerCondition(name, value, false);
  for (const [name, value] of Object.entries(match.withoutHeaders)) yield* withoutHeader(name, value);
  for (const [name, value] of Object.entries(match.queryParams)) yield [value, [`query ${name}`, false]];
}

/** Envoy compares regular expressions as they are written. */
const ignoresCase = ({ uri, ignoreUriCase }: HttpMatch): boolean =>
  ignoreUriCase === true && !uri?.regex && /[a-z]/i.test(valueOf(uri));

/**
 * Whether a condition of `withoutHeaders` is also about requests without the header, which Envoy compares as an empty one. A condition
 * for its presence is not (Istio pilot/pkg/networking/core/route/route.go TranslateRouteMatch, canBeConvertedToPresentMatch).
 */
const matchesMissingHeader = (value: StringMatch): boolean =>
  !isOfPresence(value) && patternsOf(value)?.some((one) => one.matches("")) === true;

function* withoutHeader(name: string, value: StringMatch): ReturnType<typeof conditionsOf> {
  yield headerCondition(name, value, true);
  if (!name.startsWith("@") && matchesMissingHeader(value)) yield headerCondition(name, undefined, false);
}

/** Names such as `@request.auth.claims.group` are claims, which only a gateway knows. */
const headerCondition = (
  name: string,
  value: StringMatch,
  not: boolean,
): readonly [StringMatch | "inexpressible", About] => [
  name.startsWith("@") ? "inexpressible" : value,
  [`header ${name.toLowerCase()}`, not],
];

/** Policies ignore the case of hosts, and routes do not, so that it is not known here. */
const dependsOnCase = (authority: StringMatch): boolean => /[A-Z]/.test(valueOf(authority));

const valueOf = (match: StringMatch): string => match?.exact || match?.prefix || match?.regex || "";
/** Names of hosts ignore case. */
const inLowerCase = ({ exact, prefix, regex }: NonNullable<StringMatch>): StringMatch => ({
  exact: exact?.toLowerCase(),
  prefix: prefix?.toLowerCase(),
  regex,
});

/** The texts that a condition accepts; undefined: they cannot be expressed. */
function patternsOf(condition: StringMatch): readonly Pattern[] | undefined {
  if (condition?.exact !== undefined) return [exactly(condition.exact)];
  if (condition?.prefix !== undefined) return [startingWith(condition.prefix)];
  return isOfPresence(condition) ? [anything] : patternsOfExpression(condition?.regex ?? "");
}

/** An expression `*` and nothing ask only for presence (route.go canBeConvertedToPresentMatch). */
const isOfPresence = (condition: StringMatch): boolean =>
  condition?.exact === undefined && condition?.prefix === undefined && (!condition?.regex || condition.regex === "*");
