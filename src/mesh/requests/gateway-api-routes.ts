import { idOf } from "../../kube/identity.ts";
import { type ObjectOf, readObject } from "../../kube/object.ts";
import { type KubernetesRoute, parentOf, weightOf } from "../gateways/routes.ts";
import type { Service } from "../membership/services.ts";
import { oldestFirst } from "../objects/creation-order.ts";
import type { HttpRoute, VirtualService } from "../traffic/virtual-services.ts";

type Rule = KubernetesRoute["spec"]["rules"][number];
type Match = Rule["matches"][number];

/** The HTTPRoutes of a Service as istiod converts them: one VirtualService, with the HTTPRoute of each of its routes. */
export interface ConvertedRoutes {
  readonly virtualService: VirtualService;
  readonly from: ReadonlyMap<HttpRoute, KubernetesRoute>;
}

/** What the routes are for. */
export interface RoutedPort {
  readonly service: Service;
  readonly port: number;
  /** The namespace of the proxy that has the routes. */
  readonly client: string;
  readonly domain: string;
}

/**
 * The routes of the Gateway API that name a Service as their parent, for proxies of a namespace: those of the namespace of the
 * Service, and those of their own (Istio pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection, mergeHTTPRoutes;
 * conversion.go convertHTTPRoute, sortHTTPRoutes; pilot/pkg/networking/core/route/route.go
 * buildSidecarVirtualHostsForVirtualService). No grant is needed for their backends. A text: why that is not decided;
 * undefined: there are none.
 */
export function convertedRoutes(all: readonly KubernetesRoute[], to: RoutedPort): ConvertedRoutes | string | undefined {
  const { namespace, name } = to.service.metadata;
  const routes = all
    .filter((route) => [namespace, to.client].includes(route.metadata.namespace) && portsOf(route, to).length > 0)
    .sort(oldestFirst);
  const [first] = routes;
  if (first === undefined) return undefined;
  // istiod merges the routes of one namespace and one port, and tries several of the results in an order of their own.
  const keys = new Set(
    routes.flatMap((route) => portsOf(route, to).map((port) => `${route.metadata.namespace} ${port}`)),
  );
  if (keys.size > 1)
    return `routes of several namespaces, or for one port and for all, route requests to Service ${namespace}/${name}`;
  const strange = routes.find((route) => route.originKind !== "HTTPRoute" || !route.spec.rules.every(isPlain));
  if (strange !== undefined) return `${idOf(strange)} routes requests in a way that is not examined`;
  return converted(routes, to);
}

/** The ports of its references to the Service: undefined for all of them. */
const portsOf = (route: KubernetesRoute, { service, port }: RoutedPort): readonly (number | undefined)[] =>
  route.spec.parentRefs
    .filter((ref) => {
      const parent = parentOf(ref, route);
      const { namespace, name } = service.metadata;
      const isIt = parent.kind === "Service" && parent.namespace === namespace && parent.name === name;
      return isIt && (ref.port === undefined || ref.port === port);
    })
    .map((ref) => ref.port);

/** Filters that change where requests go, or nothing of what matters here. */
const known: ReadonlySet<string> = new Set([
  "RequestHeaderModifier",
  "ResponseHeaderModifier",
  "RequestMirror",
  "RequestRedirect",
  "URLRewrite",
  "CORS",
]);
const isPlain = ({ filters }: Rule): boolean => filters.every(({ type }) => known.has(type));

function converted(routes: readonly KubernetesRoute[], { service, domain }: RoutedPort): ConvertedRoutes {
  const { namespace, name } = service.metadata;
  const all = routes.flatMap((object) =>
    object.spec.rules.flatMap((rule, i) => {
      const matches = rule.matches.length === 0 ? [undefined] : rule.matches;
      return matches.map((match) => ({
        object,
        rank: rankOf(match),
        raw: rawRoute(rule, match, { object, i, domain }),
      }));
    }),
  );
  all.sort((a, b) => before(a.rank, b.rank));
  const virtualService: ObjectOf<"VirtualService"> = readObject("VirtualService", {
    kind: "VirtualService",
    metadata: { namespace: routes[0]?.metadata.namespace, name: routes[0]?.metadata.name },
    spec: { hosts: [`${name}.${namespace}.svc.${domain}`], http: all.map(({ raw }) => raw) },
  });
  const from = new Map(
    virtualService.spec.http.flatMap((route, i) => {
      const object = all[i]?.object;
      return object === undefined ? [] : [[route, object] as const];
    }),
  );
  return { virtualService, from };
}

/** Without a match last; then exact paths, prefixes, expressions, the longer the earlier; methods, headers, parameters. */
type Rank = readonly number[];
function rankOf(match: Match | undefined): Rank {
  if (match === undefined) return [0];
  const { path, method, headers, queryParams } = match;
  const type = path?.type ?? "PathPrefix";
  const value = path?.value ?? "/";
  const length = type === "PathPrefix" && value !== "/" ? value.replace(/\/$/, "").length : value.length;
  const kinds = ["RegularExpression", "PathPrefix", "Exact"];
  return [1, kinds.indexOf(type), length, method === undefined ? 0 : 1, headers.length, queryParams.length];
}
function before(a: Rank, b: Rank): number {
  for (const [i, rank] of a.entries()) if (rank !== b[i]) return (b[i] ?? 0) - rank;
  return 0;
}

function rawRoute(
  { backendRefs, filters }: Rule,
  match: Match | undefined,
  { object, i, domain }: { readonly object: KubernetesRoute; readonly i: number; readonly domain: string },
): object {
  const { namespace, name } = object.metadata;
  const has = (type: string) => filters.some((filter) => filter.type === type);
  const backends = backendRefs.filter((ref) => weightOf(ref) > 0);
  const destinations = backends.map((ref) => ({
    // A backend of another kind is no host that anything defines.
    destination: {
      host: `${ref.name}.${ref.namespace || namespace}.${isService(ref) ? "svc" : (ref.kind ?? "").toLowerCase()}.${domain}`,
      port: { number: ref.port },
    },
    weight: weightOf(ref),
  }));
  const isRedirect = has("RequestRedirect");
  const nothing = isRedirect ? { redirect: {} } : { directResponse: { status: 500 } };
  return {
    name: `${namespace}.${name}.${i}`,
    match: match === undefined ? [] : rawMatches(match),
    ...(isRedirect || backends.length === 0 ? nothing : { route: destinations }),
    ...(has("URLRewrite") ? { rewrite: { uriRegexRewrite: { match: "/.*", rewrite: "" } } } : {}),
  };
}

const isService = ({ kind, group }: Rule["backendRefs"][number]): boolean =>
  (kind ?? "Service") === "Service" && (group ?? "") === "";

/** A prefix of the Gateway API ends at a slash: `/a` is no prefix of `/ab`. */
function rawMatches({ path, method, headers, queryParams }: Match): readonly object[] {
  const valuesOf = (all: Match["headers"]) =>
    Object.fromEntries(
      all.map(({ type, name, value }) => [name, type === "RegularExpression" ? { regex: value } : { exact: value }]),
    );
  const others = {
    ...(method === undefined ? {} : { method: { exact: method } }),
    headers: valuesOf(headers),
    queryParams: valuesOf(queryParams),
  };
  return urisOf(path).map((uri) => (uri === undefined ? others : { ...others, uri }));
}

function urisOf(path: Match["path"]): readonly (object | undefined)[] {
  const { type = "PathPrefix", value = "/" } = path ?? {};
  if (type === "Exact") return [{ exact: value }];
  if (type === "RegularExpression") return [{ regex: value }];
  const prefix = value.replace(/\/$/, "");
  return prefix === "" ? [undefined] : [{ exact: prefix }, { prefix: `${prefix}/` }];
}
