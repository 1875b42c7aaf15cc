import type { HttpRoute } from "../traffic/virtual-services.ts";
import type { RouteCase } from "./route-conditions.ts";

/** What a route changes; undefined: it leaves it. */
export interface Rewrite {
  readonly authority: string | undefined;
  /** `prefix`: only this beginning of the path is replaced; undefined: the whole path. `unknown`: by a regular expression. */
  readonly path: { readonly to: string; readonly prefix: string | undefined } | "unknown" | undefined;
}

/** Why a route answers requests itself; undefined: it sends them on. */
export function endOf({ redirect, directResponse, fault }: HttpRoute): string | undefined {
  if (redirect !== undefined) return "the route redirects the client";
  if (directResponse !== undefined)
    return `the route itself answers with status ${directResponse.status ?? "(not set)"}`;
  const abort = fault?.abort;
  // Without a percentage, no request is aborted (Istio pilot/pkg/networking/core/route/route.go TranslateFault).
  if ((abort?.percentage?.value ?? 0) >= 100) return "the route aborts every request (fault injection)";
  return undefined;
}

type HttpRewrite = NonNullable<HttpRoute["rewrite"]>;

/** What every path matches is replaced as a whole, if the new one names no part of it. */
const wholePath = ({ match, rewrite: to }: NonNullable<HttpRewrite["uriRegexRewrite"]>): Rewrite["path"] =>
  match === "/.*" && to?.startsWith("/") === true && !to.includes("\\") ? { to, prefix: undefined } : undefined;

/** Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination. What becomes of a path without a slash at its start is not known. */
export function rewriteOf({ authority, uri: to, uriRegexRewrite: regex }: HttpRewrite, uri: RouteCase["uri"]): Rewrite {
  if (regex !== undefined) return { authority, path: wholePath(regex) ?? "unknown" };
  return { authority, path: to ? pathOf(to, uri) : undefined };
}

function pathOf(to: string, uri: RouteCase["uri"]): Rewrite["path"] {
  if (uri?.regex || !to.startsWith("/")) return "unknown";
  return { to, prefix: uri?.exact ? undefined : (uri?.prefix ?? "/") };
}
