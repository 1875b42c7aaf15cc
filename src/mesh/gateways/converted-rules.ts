import { type ObjectOf, readObject } from "../../kube/object.ts";
import { isHostname } from "./hostname-backends.ts";
import { type BackendObject, type KubernetesRoute, weightOf } from "./routes.ts";
import { unsupportedFilters } from "./unsupported-filters.ts";
import { oldestRouteFirst } from "../objects/creation-order.ts";
import { routeSemantics } from "../objects/labels.ts";
import { durationMs } from "../traffic/durations.ts";
import type { HttpRoute, VirtualService, WeightedDestination } from "../traffic/virtual-services.ts";

type Rule = KubernetesRoute["spec"]["rules"][number];
export type KubernetesMatch = Rule["matches"][number];
type Match = KubernetesMatch;
type BackendRef = Rule["backendRefs"][number];
type Filter = Rule["filters"][number];

/** Where a converted route is written. Both routes of a prefix have the same origin. */
export interface RouteOrigin {
  readonly object: KubernetesRoute;
  /** Its position in `spec.rules`. */
  readonly i: number;
  readonly rule: Rule;
  /** Undefined: the rule has none, and is for all requests. */
  readonly match: Match | undefined;
}

/** Rules of HTTPRoutes and GRPCRoutes as istiod converts them: one VirtualService, with the origin of each of its routes. */
export interface ConvertedRoutes {
  readonly virtualService: VirtualService;
  readonly origins: ReadonlyMap<HttpRoute, RouteOrigin>;
  /** Why requests to a destination reach nothing, where that is decided before the host is looked up. */
  readonly refused: ReadonlyMap<WeightedDestination, string>;
}

/** What the rules are converted for. */
export interface Conversion {
  readonly hosts: readonly string[];
  readonly domain: string;
  /** The name of the VirtualService that istiod makes. Default: that of the first route. */
  readonly name?: string;
  /** The only port that the rules are for. Default: all ports. */
  readonly port?: number | undefined;
  /** The names in TLS that the rules of a TLSRoute are for. Default: `hosts`. */
  readonly sniHosts?: readonly string[];
  /** Why a route may not use a backend; undefined: it may. Default: every route may. */
  readonly refusalOf?: ((ref: BackendObject, route: KubernetesRoute) => string | undefined) | undefined;
  /** Whether nothing defines a backend that a route may use. Default: it is not known. */
  readonly isMissing?: ((ref: BackendObject, route: KubernetesRoute) => boolean) | undefined;
}

/**
 * The rules of routes in the order in which istiod sorts them (Istio pilot/pkg/config/kube/gateway/conversion.go
 * convertHTTPRoute, convertGRPCRoute, sortHTTPRoutes; route_collections.go mergeHTTPRoutes).
 */
export function converted(all: readonly KubernetesRoute[], conversion: Conversion): ConvertedRoutes {
  const routes = all.toSorted(oldestRouteFirst);
  const rules = routes.flatMap((object) =>
    object.spec.rules.flatMap((rule, i) => {
      return matchesOf(rule, object).flatMap((match) => {
        const origin: RouteOrigin = { object, i, rule, match };
        const rank = rankOf(origin, conversion);
        return rawRoutes(origin, conversion).map((raw) => ({ origin, rank, raw }));
      });
    }),
  );
  rules.sort((a, b) => before(a.rank, b.rank));
  const virtualService = virtualServiceFor(routes[0], conversion, { http: rules.map(({ raw }) => raw) });
  const pairs = virtualService.spec.http.flatMap((route, i) => {
    const origin = rules[i]?.origin;
    return origin === undefined ? [] : [[route, origin] as const];
  });
  return {
    virtualService,
    origins: new Map(pairs),
    refused: new Map(
      pairs.flatMap(([{ route }, { rule, object }]) => refusalsAt(route, receiving(rule), object, conversion)),
    ),
  };
}

/**
 * The rules of a TLSRoute or a TCPRoute (Istio pilot/pkg/config/kube/gateway/conversion.go convertTLSRoute, convertTCPRoute). A rule
 * without a backend that has a weight leads to nothing; that of a TLSRoute has no match then, so that no connection uses it.
 */
export function convertedStreams(object: KubernetesRoute, conversion: Conversion): ConvertedStreams {
  const { port, hosts, sniHosts = hosts } = conversion;
  const isTls = object.originKind === "TLSRoute";
  const matchOf = (rule: Rule) => {
    if (!isTls) return port === undefined ? [] : [{ port }];
    return receiving(rule).length === 0 ? [] : [{ sniHosts, port }];
  };
  const routes = object.spec.rules.map((rule) => ({
    match: matchOf(rule),
    route: destinationsOf(rule, object.metadata.namespace, conversion.domain),
  }));
  const virtualService = virtualServiceFor(object, conversion, isTls ? { tls: routes } : { tcp: routes });
  const all = [...virtualService.spec.tls, ...virtualService.spec.tcp];
  const refused = object.spec.rules.flatMap((rule, i) =>
    refusalsAt(all[i]?.route ?? [], receiving(rule), object, conversion),
  );
  return { virtualService, refused: new Map(refused) };
}

/** The VirtualService that istiod makes of routes, of which this is the oldest. */
function virtualServiceFor(
  route: KubernetesRoute | undefined,
  { hosts, name: given }: Conversion,
  routes: object,
): ObjectOf<"VirtualService"> {
  const { namespace, name, creationTimestamp } = route?.metadata ?? {};
  return readObject("VirtualService", {
    kind: "VirtualService",
    metadata: { namespace, name: given ?? name, creationTimestamp, annotations: { [routeSemantics]: "gateway" } },
    spec: { hosts, ...routes },
  });
}

/** The same without the origin of each route, which all have the same. */
export type ConvertedStreams = Omit<ConvertedRoutes, "origins">;

function destinationsOf({ backendRefs }: Rule, namespace: string, domain: string): readonly object[] {
  const backends = backendRefs.filter((ref) => weightOf(ref) > 0);
  if (backends.length === 0) return [{ destination: { host: "internal.cluster.local" } }];
  return backends.map((ref) => rawDestination(ref, { backends, namespace, domain }));
}

/** One backend gets everything, whatever its weight. */
const rawDestination = (
  ref: BackendRef,
  of: { readonly backends: readonly BackendRef[]; readonly namespace: string; readonly domain: string },
): object => ({
  destination: { host: hostOf(ref, of.namespace, of.domain), port: { number: ref.port } },
  ...(of.backends.length > 1 ? { weight: weightOf(ref) } : {}),
});

function refusalsAt(
  destinations: readonly WeightedDestination[],
  backends: readonly BackendRef[],
  object: KubernetesRoute,
  { refusalOf = everyBackend }: Conversion,
): readonly (readonly [WeightedDestination, string])[] {
  return destinations.flatMap((destination, i) => {
    const ref = backends[i];
    const because = ref && (refusalOf(ref, object) ?? unsupported(ref));
    return because === undefined ? [] : [[destination, because] as const];
  });
}

/**
 * Why istiod drops all rules of a route; undefined: it does not. A backend that a route may not use takes nothing but its own requests (Istio pilot/pkg/config/kube/gateway/conversion.go
 * convertHTTPRoute, convertGRPCRoute, buildDestination).
 */
export function dropped(route: KubernetesRoute, conversion: Uses = {}): string | undefined {
  const { refusalOf = everyBackend } = conversion;
  const [filter] = unsupportedFilters(route);
  if (filter !== undefined) return `filter ${JSON.stringify(filter.type)} is not supported`;
  for (const { filters, backendRefs } of route.spec.rules) {
    const fault = backendRefs
      .filter((one) => weightOf(one) > 0 && refusalOf(one, route) === undefined)
      .map(faultOf)
      .find((one) => one !== undefined);
    if (fault !== undefined) return fault;
    const mirror = route.originKind === "GRPCRoute" ? mirrorFault(filters, route, conversion) : undefined;
    if (mirror !== undefined) return mirror;
  }
  return undefined;
}

type Uses = Pick<Conversion, "refusalOf" | "isMissing">;

/** A mirror that cannot be used takes all rules of a GRPCRoute with it, and is left out of those of an HTTPRoute. */
function mirrorFault(
  filters: readonly Filter[],
  route: KubernetesRoute,
  { refusalOf = everyBackend, isMissing = () => false }: Uses,
): string | undefined {
  for (const ref of filters.flatMap(({ requestMirror }) => requestMirror?.backendRef ?? [])) {
    const because = refusalOf(ref, route) ?? unsupported(ref) ?? faultOf(ref);
    if (because !== undefined) return `it cannot mirror requests: ${because}`;
    if (isMissing(ref, route)) return `it cannot mirror requests: Service ${ref.name} does not exist`;
  }
  return undefined;
}

const everyBackend = () => undefined;

/** What a route may use, and istiod cannot convert. */
function faultOf(ref: BackendObject): string | undefined {
  const { name, namespace, port } = ref;
  const backend = `backend ${JSON.stringify(name)}`;
  if (isService(ref) && name.includes(".")) return `${backend} is not the name of a Service`;
  if (isHostname(ref) && namespace !== undefined) return `${backend} is a host with a namespace`;
  return unsupported(ref) === undefined && port === undefined ? `${backend} has no port` : undefined;
}

/** Those backends of a rule that receive requests. */
const receiving = ({ backendRefs }: Rule): readonly BackendRef[] => backendRefs.filter((ref) => weightOf(ref) > 0);

/** Whether a rule of a TCPRoute or a TLSRoute takes connections, if only to refuse them: see `convertedStreams`. */
export const takesConnections = ({ route, i }: { readonly route: KubernetesRoute; readonly i: number }): boolean => {
  const rule = route.spec.rules[i];
  return rule !== undefined && (route.originKind !== "TLSRoute" || receiving(rule).length > 0);
};

const groupOf = ({ group }: BackendObject): string => group ?? "";
const kindOf = ({ kind }: BackendObject): string => kind ?? "Service";
const isService = (ref: BackendObject): boolean => kindOf(ref) === "Service" && groupOf(ref) === "";
/** Istio reads a ServiceImport as the Service of the same name. */
const isImport = (ref: BackendObject): boolean =>
  kindOf(ref) === "ServiceImport" && groupOf(ref) === "multicluster.x-k8s.io";

/** Why Istio sends nothing to a backend, whatever exists; undefined: it does. InferencePools and XBackends have to be turned on. */
const unsupported = (ref: BackendObject): string | undefined =>
  isService(ref) || isHostname(ref) || isImport(ref)
    ? undefined
    : `${kindOf(ref)} ${ref.name} is no Service, so that nothing is sent to it`;

/** Without a match, a rule of an HTTPRoute is for all paths, which the API server writes into it as the prefix `/`. */
function matchesOf({ matches }: Rule, { originKind }: KubernetesRoute): readonly (Match | undefined)[] {
  if (matches.length > 0) return matches;
  return [originKind === "HTTPRoute" ? everyPath : undefined];
}
const everyPath: Match = { path: { type: "PathPrefix", value: "/" }, method: undefined, headers: [], queryParams: [] };

/** Without a match last, which one for a single port has; then without a path; then exact paths, prefixes, expressions, the longer the earlier; methods, headers, parameters. */
type Rank = readonly number[];
function rankOf(origin: RouteOrigin, { port }: Conversion): Rank {
  const { match } = origin;
  if (match === undefined && port === undefined) return [0];
  const { method, headers = [], queryParams = [] } = match ?? {};
  const [kind, length] = rankOfPath(pathOf(origin));
  const isMethod = typeof method === "string" ? 1 : 0;
  return [1, kind, length, isMethod, namesIn(headers), namesIn(queryParams)];
}
const namesIn = (all: Match["headers"]): number => new Set(all.map(({ name }) => name)).size;

function rankOfPath(path: RulePath | undefined): readonly [number, number] {
  if (path === undefined) return [-1, 0];
  const kinds = ["RegularExpression", "PathPrefix", "Exact"];
  return [kinds.indexOf(path.type), path.value.length];
}

function before(a: Rank, b: Rank): number {
  for (const [i, rank] of a.entries()) if (rank !== b[i]) return (b[i] ?? 0) - rank;
  return 0;
}

interface RulePath {
  readonly type: string;
  readonly value: string;
}

/** What the match of a route says about the path; undefined: nothing (conversion.go createURIMatch, createGRPCURIMatch). */
export function pathOf({ object, match }: Pick<RouteOrigin, "object" | "match">): RulePath | undefined {
  if (match === undefined) return undefined;
  const { path, method } = match;
  if (object.originKind === "GRPCRoute") return typeof method === "object" ? pathOfGrpc(method) : undefined;
  const { type = "PathPrefix", value = "/" } = path ?? {};
  return { type, value: type === "PathPrefix" && value !== "/" ? value.replace(/\/$/, "") : value };
}

/** gRPC sends requests to `/service/method`. */
function pathOfGrpc({ type, service, method }: Exclude<Match["method"], string | undefined>) {
  if (service !== undefined && method !== undefined && type !== "RegularExpression")
    return { type: "Exact", value: `/${service}/${method}` };
  if (service !== undefined && method === undefined && type !== "RegularExpression")
    return { type: "PathPrefix", value: `/${service}/` };
  return { type: "RegularExpression", value: `/${service ?? "[^/]+"}/${method ?? ".+"}` };
}

/** The routes for one match. A prefix is the path itself and what is below it, which a rewrite treats apart. */
function rawRoutes(origin: RouteOrigin, conversion: Conversion): readonly object[] {
  const { object, i, rule, match } = origin;
  const { namespace, name } = object.metadata;
  const backends = receiving(rule);
  const destinations = backends.map((ref) => ({
    ...rawDestination(ref, { backends, namespace, domain: conversion.domain }),
    ...rawHeaders(ref.filters),
  }));
  const isRedirect = rule.filters.some(({ type }) => type === "RequestRedirect");
  const nothing = isRedirect ? { redirect: {} } : { directResponse: { status: 500 } };
  const raw = {
    name: `${namespace}.${name}.${i}`,
    ...(isRedirect || backends.length === 0 ? nothing : { route: destinations }),
    ...rawHeaders(rule.filters),
    ...rawAttempts(rule),
  };
  const rewrite = rule.filters.find(({ type }) => type === "URLRewrite")?.urlRewrite;
  const paths = pathsOf(pathOf(origin));
  return paths.map((path) => ({
    ...raw,
    match: rawMatches(match, path, conversion.port),
    ...(rewrite === undefined ? {} : { rewrite: rawRewrite(rewrite, path?.isBelow === true) }),
  }));
}

const retryOn = ["connect-failure", "refused-stream", "unavailable", "cancelled"];
/** Retries if `retry` does not say how many. */
const defaultAttempts = 2;

/**
 * The timeout and the retries of a rule: with `retry`, `backendRequest` is the timeout of each try, without it that of the whole
 * request, whatever `request` says. 0 is none.
 */
function rawAttempts({ timeouts, retry }: Rule): { readonly timeout?: string; readonly retries?: object } {
  const [request, backendRequest] = [timeouts?.request, timeouts?.backendRequest].map((text) =>
    durationMs(text) ? text : undefined,
  );
  if (retry === undefined) {
    const timeout = backendRequest ?? request;
    return timeout === undefined ? {} : { timeout };
  }
  const attempts = retry.attempts ?? defaultAttempts;
  const retries = {
    attempts,
    retryOn: attempts === 0 ? "" : [...retryOn, ...retry.codes].join(","),
    perTryTimeout: backendRequest,
  };
  return { retries, ...(request === undefined ? {} : { timeout: request }) };
}

function hostOf(ref: BackendRef, own: string, domain: string): string {
  if (isHostname(ref)) return ref.name;
  const kind = isService(ref) || isImport(ref) ? "svc" : kindOf(ref).toLowerCase();
  // A backend of another kind is no host that anything defines.
  return `${ref.name}.${ref.namespace || own}.${kind}.${domain}`;
}

function rawMatches(match: Match | undefined, path: RawPath | undefined, port: number | undefined): readonly object[] {
  if (match === undefined) return port === undefined ? [] : [{ port }];
  return [{ ...rawMatch(match), ...(path === undefined ? {} : { uri: path.uri }), port }];
}

function rawMatch({ method, headers, queryParams }: Match): object {
  const valuesOf = (all: Match["headers"]) =>
    Object.fromEntries(
      all.map(({ type, name, value }) => [name, type === "RegularExpression" ? { regex: value } : { exact: value }]),
    );
  return {
    ...(typeof method === "string" ? { method: { exact: method } } : {}),
    headers: valuesOf(headers),
    queryParams: valuesOf(queryParams),
  };
}

interface RawPath {
  readonly uri: object;
  /** Whether it is what is below a prefix. */
  readonly isBelow: boolean;
}

/** A prefix of the Gateway API ends at a slash: `/a` is no prefix of `/ab`. Undefined: every path. */
function pathsOf(path: RulePath | undefined): readonly (RawPath | undefined)[] {
  if (path === undefined) return [undefined];
  if (path.type === "Exact") return [{ uri: { exact: path.value }, isBelow: false }];
  if (path.type === "RegularExpression") return [{ uri: { regex: path.value }, isBelow: false }];
  const prefix = path.value.replace(/\/$/, "");
  if (prefix === "") return [undefined];
  return [
    { uri: { exact: prefix }, isBelow: false },
    { uri: { prefix: `${prefix}/` }, isBelow: true },
  ];
}

/** Of several filters the last one counts, and of several values of a header the first one (createHeadersFilter, headerListToMap). */
function rawHeaders(filters: readonly Pick<Filter, "type" | "requestHeaderModifier">[]): object {
  const last = filters.findLast(
    (one) => one.type === "RequestHeaderModifier" && one.requestHeaderModifier !== undefined,
  );
  const { requestHeaderModifier: changes } = last ?? {};
  if (changes === undefined) return {};
  const valuesOf = (all: (typeof changes)["set"]) =>
    Object.fromEntries(all.toReversed().map(({ name, value }) => [name.toLowerCase(), value ?? ""]));
  return { headers: { request: { set: valuesOf(changes.set), add: valuesOf(changes.add), remove: changes.remove } } };
}

/** What is below a prefix keeps the slash between (Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination). */
function rawRewrite({ hostname, path }: NonNullable<Filter["urlRewrite"]>, isBelow: boolean): object {
  const authority = hostname === undefined ? {} : { authority: hostname };
  if (path?.replaceFullPath !== undefined && path.type !== "ReplacePrefixMatch")
    return { ...authority, uriRegexRewrite: { match: "/.*", rewrite: path.replaceFullPath } };
  if (path?.replacePrefixMatch === undefined) return authority;
  const to = path.replacePrefixMatch.replace(/\/$/, "") || "/";
  return { ...authority, uri: isBelow && to !== "/" ? `${to}/` : to };
}
