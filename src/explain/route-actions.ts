import { shownDuration } from "../mesh/traffic/durations.ts";
import { type InjectedFault, injectedFaults } from "../mesh/traffic/injected-faults.ts";
import { type HttpRoute, mirrorsOf } from "../mesh/traffic/virtual-services.ts";

/** What a route does to requests besides sending them to its destinations, each behind a semicolon; empty: nothing. */
export const actionsOf = (route: HttpRoute): string =>
  [
    ...injectedFaults(route).map(faultInWords),
    ...rewriteInWords(route),
    ...headersInWords(route),
    ...mirrorsInWords(route),
  ]
    .map((action) => `; ${action}`)
    .join("");

function faultInWords({ field, percent, delayMs, status }: InjectedFault): string {
  if (field === "delay") return `delays ${percent}% by ${delayMs === undefined ? "some time" : shownDuration(delayMs)}`;
  return `aborts ${percent}% with ${status}`;
}

/** Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination: the part that a prefix matches is replaced alone. */
function rewriteInWords({ rewrite }: HttpRoute): readonly string[] {
  const { uri, uriRegexRewrite: regex, authority } = rewrite ?? {};
  const path = regex === undefined ? (uri ?? "") : `${regex.rewrite ?? ""}, where it matches ${regex.match ?? ""}`;
  const parts = [...(path === "" ? [] : [`the path to ${path}`]), ...(authority ? [`the host to ${authority}`] : [])];
  return parts.length === 0 ? [] : [`rewrites ${parts.join(" and ")}`];
}

/** Headers of requests; a value can be a secret. */
function headersInWords({ headers }: HttpRoute): readonly string[] {
  const { set = {}, add = {}, remove = [] } = headers?.request ?? {};
  const actions: readonly (readonly [string, readonly string[]])[] = [
    ["sets", Object.keys(set)],
    ["adds", Object.keys(add)],
    ["removes", remove],
  ];
  return actions.flatMap(([does, names]) => (names.length === 0 ? [] : [`${does} ${headersNamed(names)}`]));
}

/** So many names of headers are shown. */
const fewHeaders = 5;

function headersNamed(names: readonly string[]): string {
  const more = names.length > fewHeaders ? ` and ${names.length - fewHeaders} more` : "";
  return `${names.length === 1 ? "header" : "headers"} ${names.slice(0, fewHeaders).join(", ")}${more}`;
}

/** A route that redirects or answers itself mirrors nothing. */
const mirrorsInWords = (route: HttpRoute): readonly string[] =>
  route.route.length === 0
    ? []
    : mirrorsOf(route).map(({ destination: { host, subset }, percent }) => {
        return `mirrors ${percent}% to ${host}${subset ? ` subset ${subset}` : ""}`;
      });

/** Where clients are redirected to, and what is left as it was is not said (route.go ApplyRedirect). */
export function redirectInWords({
  scheme,
  authority,
  port,
  derivePort,
  uri,
  prefixRewrite,
  redirectCode,
}: Redirect): string {
  const parts = [
    ...(scheme ? [`scheme ${scheme}`] : []),
    ...(authority ? [`host ${authority}`] : []),
    ...(port ? [`port ${port}`] : isOfRequest(derivePort) ? ["the port of the request"] : []),
    ...(uri ? [`path ${uri}`] : prefixRewrite ? [`prefix ${prefixRewrite}`] : []),
  ];
  return `redirects with ${redirectCode || 301}${parts.length === 0 ? "" : ` to ${parts.join(", ")}`}`;
}
type Redirect = NonNullable<HttpRoute["redirect"]>;

/** The other value is the default of Envoy. */
const isOfRequest = (derivePort: Redirect["derivePort"]): boolean =>
  ["FROM_REQUEST_PORT", 1].includes(derivePort ?? "");
