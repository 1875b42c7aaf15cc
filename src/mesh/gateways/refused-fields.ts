import type { Path } from "../../kube/read.ts";
import { patternProblem } from "../../schemas/pattern.ts";
import { faultOfHeaderValue } from "../traffic/header-values.ts";
import { type KubernetesMatch, pathOf } from "./converted-rules.ts";
import { type KubernetesRoute, weightOf } from "./routes.ts";

/** A field of a rule that istiod converts without a look, and that Envoy rejects the route configuration for. */
export interface RefusedField {
  readonly at: Path;
  readonly message: string;
  readonly isCertain: boolean;
  /** The rule is left out behind a route for all requests that comes before expressions for paths of this length. */
  readonly rank: number;
}

type Rule = KubernetesRoute["spec"]["rules"][number];
type Filters = Rule["backendRefs"][number]["filters"];

/**
 * The fields of an HTTPRoute or a GRPCRoute that Envoy cannot read: regular expressions, and values of headers. The definitions of the
 * Gateway API do not check them, and no webhook of istiod does (Istio pilot/pkg/config/kube/gateway/conversion.go createURIMatch,
 * createHeadersMatch, createQueryParamsMatch, createGRPCURIMatch, createGRPCHeadersMatch, createHeadersFilter). Origins of CORS are
 * quoted, and what a rewrite replaces is istiod's own expression (createCorsFilter, createRewriteFilter).
 */
export function* refusedFields(route: KubernetesRoute): Iterable<RefusedField | undefined> {
  for (const [i, rule] of route.spec.rules.entries()) {
    const at = ["spec", "rules", i];
    let rank = rule.matches.length === 0 ? first : 0;
    for (const [j, match] of rule.matches.entries()) {
      yield undefined;
      const own = rankOf(route, match);
      rank = Math.max(rank, own);
      for (const found of refusedInMatch(route, match))
        yield { ...found, at: [...at, "matches", j, ...found.at], rank: own };
    }
    for (const found of refusedInRule(rule)) yield { ...found, at: [...at, ...found.at], rank };
  }
}

/** Of what comes before a route for all requests. */
const first = Number.POSITIVE_INFINITY;

/** Expressions are the last paths, the longer the earlier (conversion.go sortHTTPRoutes). A GRPCRoute without a method comes after them. */
function rankOf(object: KubernetesRoute, match: KubernetesMatch): number {
  const path = pathOf({ object, match });
  return path?.type === "RegularExpression" ? 1 + path.value.length : first;
}

/**
 * Up to which rank istiod leaves out what comes behind the route for all requests that an HTTPRoute has; 0: it has none (Istio
 * pilot/pkg/networking/core/route/route.go BuildHTTPRoutesForVirtualService, IsCatchAllRoute).
 */
export function rankOfCatchAll(route: KubernetesRoute): number {
  if (route.originKind !== "HTTPRoute") return 0;
  let rank = 0;
  for (const { matches } of route.spec.rules) {
    if (matches.length === 0) rank = last;
    for (const match of matches) rank = Math.max(rank, catchAll(route, match));
  }
  return rank;
}
/** After all paths that are expressions have been left out. */
const last = Number.MAX_SAFE_INTEGER;

function catchAll(object: KubernetesRoute, match: KubernetesMatch): number {
  const { method, headers, queryParams } = match;
  if (method !== undefined || headers.length > 0 || queryParams.length > 0) return 0;
  const path = pathOf({ object, match });
  if (path?.type === "PathPrefix" && path.value === "/") return last;
  return path?.type === "RegularExpression" && path.value === ".*" ? 1 + path.value.length : 0;
}

type Fault = Omit<RefusedField, "rank">;

function* refusedInMatch(object: KubernetesRoute, match: KubernetesMatch): Iterable<Fault> {
  const path = pathOf({ object, match });
  if (path?.type === "RegularExpression") {
    const at = object.originKind === "GRPCRoute" ? ["method"] : ["path", "value"];
    yield* refusedExpression(path.value, at);
  }
  // Istio reads `*` as any value, and makes no expression of it (route.go canBeConvertedToPresentMatch).
  for (const field of ["headers", "queryParams"] as const)
    for (const [k, { type, value }] of match[field].entries())
      if (type === "RegularExpression" && value !== undefined && value !== "*")
        yield* refusedExpression(value, [field, k, "value"]);
}

function* refusedExpression(expression: string, at: Path): Iterable<Fault> {
  const because = faultOfExpression(expression);
  if (because !== undefined)
    yield {
      at,
      message: `${JSON.stringify(expression)} is no regular expression in the syntax of RE2 (${because})`,
      isCertain: true,
    };
}

/** The longest path that the API server accepts. */
const longest = 1024;
/** What takes long to compile is not asked about. */
const mostRepeated = 50_000;

function faultOfExpression(expression: string): string | undefined {
  if (expression === "") return "it is empty";
  // Envoy's RE2 knows `\C`, and Go's does not.
  if (expression.length > longest || expression.includes("\\C")) return undefined;
  const repeats = expression
    .matchAll(/\{\d*,?(?<most>\d+)/g)
    .reduce((sum, { groups }) => sum + Number(groups?.["most"]), 0);
  if (repeats * expression.length > mostRepeated) return undefined;
  return patternProblem(expression)?.replace(/^error parsing regexp: /, "");
}

function* refusedInRule({ filters, backendRefs }: Rule): Iterable<Fault> {
  yield* refusedHeaders(filters, ["filters"]);
  if (filters.some(({ type }) => type === "RequestRedirect")) return;
  for (const [j, ref] of backendRefs.entries())
    if (weightOf(ref) > 0) yield* refusedHeaders(ref.filters, ["backendRefs", j, "filters"]);
}

const modifiers = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
} as const;

/** Of several filters of a type the last one counts, and of several values of a header the first one (headerListToMap). */
function* refusedHeaders(filters: Filters, at: Path): Iterable<Fault> {
  for (const [type, field] of Object.entries(modifiers)) {
    const i = filters.findLastIndex((filter) => filter.type === type && filter[field] !== undefined);
    for (const list of ["set", "add"] as const)
      yield* refusedValues(filters[i]?.[field]?.[list] ?? [], [...at, i, field, list]);
  }
}

function* refusedValues(
  headers: readonly { readonly name: string; readonly value: string | undefined }[],
  at: Path,
): Iterable<Fault> {
  const known = new Set<string>();
  for (const [k, { name, value = "" }] of headers.entries()) {
    const header = name.toLowerCase();
    // istiod takes the host out (route.go isInternalHeader).
    if (known.has(header) || header.startsWith(":") || header === "host") continue;
    known.add(header);
    const fault = faultOfHeaderValue(value);
    if (fault !== undefined)
      yield {
        at: [...at, k, "value"],
        message: `${JSON.stringify(value)} is no value for header "${name}": ${fault.because}`,
        isCertain: fault.isCertain,
      };
  }
}
