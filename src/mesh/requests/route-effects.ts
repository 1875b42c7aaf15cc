import type { Box } from "../authorization/requests/boxes.ts";
import { startingWith } from "../authorization/requests/patterns.ts";
import { Texts } from "../authorization/requests/texts.ts";
import type { Work } from "../authorization/requests/work.ts";
import { injectedFaults } from "../traffic/injected-faults.ts";
import type { HttpRoute } from "../traffic/virtual-services.ts";
import type { RouteCase } from "./route-conditions.ts";

/** What a route changes; undefined: it leaves it. */
export interface Rewrite {
  readonly authority: string | undefined;
  /** `prefix`: only this beginning of the path is replaced; undefined: the whole path. `unknown`: by a regular expression. */
  readonly path: { readonly to: string; readonly prefix: string | undefined } | "unknown" | undefined;
}

/** Why a route answers requests itself; undefined: it sends them on. */
export function endOf(route: HttpRoute): string | undefined {
  const { redirect, directResponse } = route;
  if (redirect !== undefined) return "the route redirects the client";
  if (directResponse !== undefined)
    return `the route itself answers with status ${directResponse.status ?? "(not set)"}`;
  if (injectedFaults(route).some(({ field, percent }) => field === "abort" && percent >= 100))
    return "the route aborts every request (fault injection)";
  return undefined;
}

type HttpRewrite = NonNullable<HttpRoute["rewrite"]>;

/** What every path matches is replaced as a whole, if the new one names no part of it. */
const wholePath = ({ match, rewrite: to = "" }: NonNullable<HttpRewrite["uriRegexRewrite"]>): Rewrite["path"] =>
  match === "/.*" && isKept(to) ? { to, prefix: undefined } : undefined;

/**
 * Whether the proxies behind read a new path as it is written: they resolve segments of dots, escapes and backslashes before they compare it
 * (Istio pilot/pkg/networking/core/listener_builder.go, NormalizePath), and what follows `?` or `#` is no part of it.
 */
const isKept = (path: string): boolean => path.startsWith("/") && !/[?#%\\]|\/\.{1,2}(?:\/|$)/.test(path);

/** Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination. */
export function rewriteOf({ authority, uri: to, uriRegexRewrite: regex }: HttpRewrite, uri: RouteCase["uri"]): Rewrite {
  if (regex !== undefined) return { authority, path: wholePath(regex) ?? "unknown" };
  return { authority, path: to ? pathOf(to, uri) : undefined };
}

function pathOf(to: string, uri: RouteCase["uri"]): Rewrite["path"] {
  if (uri?.regex || !isKept(to)) return "unknown";
  return { to, prefix: uri?.exact ? undefined : (uri?.prefix ?? "/") };
}

/** Requests with the same rewrite. */
interface RewrittenPart {
  readonly box: Box;
  readonly rewrite: Rewrite | undefined;
}

/**
 * Parts of the requests that a route rewrites, each with what becomes of them, as the proxies behind read it. That is not known of those
 * whose new path has a segment of dots. Where proxies merge slashes, `/api/x` becomes `/v1/x`, if `/v1/` replaces `/api`.
 */
export function* rewrittenParts(
  box: Box,
  rewrite: Rewrite | undefined,
  { mergesSlashes }: { readonly mergesSlashes: boolean },
  work: Work,
): Generator<RewrittenPart, undefined> {
  if (rewrite?.path === undefined || rewrite.path === "unknown") {
    yield { box, rewrite };
    return;
  }
  const { to: written, prefix } = rewrite.path;
  const to = mergesSlashes ? written.replaceAll(/\/{2,}/g, "/") : written;
  let left: Box | undefined = box;
  for (const { values, path } of specialPaths(to, prefix, mergesSlashes)) {
    const part: Box | undefined = left?.withAll([{ attribute: "path", values, not: false }], work);
    if (part !== undefined) yield { box: part, rewrite: { ...rewrite, path } };
    left = left?.withAll([{ attribute: "path", values, not: true }], work);
  }
  if (left !== undefined) yield { box: left, rewrite: { ...rewrite, path: { to, prefix } } };
}

/** Paths of which proxies read something else than what the route writes. */
interface SpecialPaths {
  readonly values: Texts;
  readonly path: Rewrite["path"];
}

const specialPaths = (to: string, prefix: string | undefined, mergesSlashes: boolean): readonly SpecialPaths[] =>
  [resolvedPaths(to, prefix), mergesSlashes ? joinedPaths(to, prefix) : undefined].filter((one) => one !== undefined);

/** Those of which the new beginning and what follows it have a slash each; undefined: there are none. */
function joinedPaths(to: string, prefix: string | undefined): SpecialPaths | undefined {
  if (prefix === undefined || prefix.endsWith("/") || !to.endsWith("/")) return undefined;
  return { values: new Texts([[startingWith(`${prefix}/`)]]), path: { to, prefix: `${prefix}/` } };
}

/**
 * Those that get a segment of dots: `/api../admin` becomes `/v1/../admin`, if /v1/ replaces /api, and the next proxy reads /admin.
 * Behind `/`, what such a path reaches is what /apiadmin reaches.
 */
function resolvedPaths(to: string, prefix: string | undefined): SpecialPaths | undefined {
  if (prefix === undefined || prefix.endsWith("/") || to === "/" || !to.endsWith("/")) return undefined;
  const segments = [`${prefix}.`, `${prefix}..`];
  const values = new Texts(segments.flatMap((segment) => [[segment], [startingWith(`${segment}/`)]]));
  return { values, path: "unknown" };
}
