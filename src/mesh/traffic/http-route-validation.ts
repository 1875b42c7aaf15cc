import { isDomain, isLabel } from "./host-syntax.ts";
import type { Refusals } from "./refusals.ts";
import type { HttpRoute } from "./virtual-services.ts";

export const isPort = (port: number): boolean => port >= 1 && port <= 65535;

/** Istio pkg/config/validation/virtualservice.go validateHTTPRoute, except for its destinations. */
export function refuseHttpRoute(route: HttpRoute, isInDelegate: boolean, refusals: Refusals): void {
  refuseActions(route, isInDelegate, refusals);
  for (let i = 0; i < route.match.length; i++) {
    const match = route.match[i] as Match;
    const count = refusals.count;
    refuseMatch(match, refusals);
    refuseStringMatches(match, refusals);
    refusals.below(count, "match", i);
  }
  refuseMirroring(route, refusals);
  refuseRedirect(route, refusals);
  refuseAnswers(route, refusals);
  refuseRewrite(route.rewrite, refusals);
  refuseRetries(route.retries, refusals);
}

/** Istio pkg/config/validation/virtualservice.go validateHTTPRouteConflict. */
function refuseActions(route: HttpRoute, isInDelegate: boolean, refusals: Refusals): void {
  if (route.delegate !== undefined && !isInDelegate) {
    if (route.redirect) refusals.add("A route with delegate cannot have redirect too");
    if (route.route.length > 0) refusals.add("A route with delegate cannot have destinations of its own");
    return;
  }
  if (route.delegate !== undefined) refusals.add("A delegate cannot delegate further", "delegate");
  refuseAction(route, refusals);
  if (route.mirror !== undefined && route.mirrors.length > 0) refusals.add("A route cannot have mirror and mirrors");
}

function refuseAction(route: HttpRoute, refusals: Refusals): void {
  if (route.redirect !== undefined) refuseBeside("redirect", route, refusals);
  else if (route.directResponse !== undefined) refuseBeside("directResponse", route, refusals);
  else if (route.route.length === 0)
    refusals.add("The route has no action: it needs route, redirect, directResponse or delegate");
}

function refuseBeside(action: "redirect" | "directResponse", route: HttpRoute, refusals: Refusals): void {
  if (route.route.length > 0) refusals.add(`A route cannot have ${action} and route`);
  for (const other of ["fault", "rewrite"] as const)
    if (route[other] !== undefined) refusals.add(`A route cannot have ${action} and ${other}`);
  if (action === "redirect" && route.directResponse !== undefined)
    refusals.add("A route cannot have redirect and directResponse");
}

interface SourceMatch {
  readonly port: number | undefined;
  readonly gateways: readonly string[];
  readonly sourceNamespace: string | undefined;
}

/**
 * Istio pkg/config/validation/virtualservice.go validateHTTPRouteMatchRequest, validation.go validateTCPMatch,
 * validateTLSMatch.
 */
export function refuseMatch({ port, gateways, sourceNamespace }: SourceMatch, refusals: Refusals): void {
  if (port !== undefined && port !== 0 && !isPort(port))
    refusals.add(`Port ${port} is not between 1 and 65535`, "port");
  if (sourceNamespace && !isLabel(sourceNamespace))
    refusals.add(`"${sourceNamespace}" is not a namespace name`, "sourceNamespace");
  refuseGateways(gateways, false, refusals);
}

/**
 * Istio pkg/config/validation/validation.go validateGatewayNames, which stops at the first name without a namespace and
 * rejects `./name`.
 */
export function refuseGateways(gateways: readonly string[], isFromGatewayApi: boolean, refusals: Refusals): void {
  for (let i = 0; i < gateways.length; i++) {
    const gateway = gateways[i] as string;
    const slash = gateway.indexOf("/");
    const [namespace, name] = [gateway.slice(0, Math.max(slash, 0)), gateway.slice(slash + 1)];
    const isValid = slash < 0 ? isDomain(gateway) : isLabel(namespace) && (isLabel(name) || (isFromGatewayApi && name));
    if (!isValid) refusals.add(`"${gateway}" is not a gateway name: write "name" or "namespace/name"`, "gateways", i);
    if (slash < 0) return;
  }
}

type Match = HttpRoute["match"][number];
type StringMatch = NonNullable<Match["uri"]>;

const matchedParts = ["scheme", "method", "authority"] as const;
const matchedMaps = ["headers", "withoutHeaders", "queryParams"] as const;

/**
 * Istio pkg/config/validation/validation.go validateStringMatch, validateStringMatchRegexp: only a URI may have an
 * empty prefix.
 */
function refuseStringMatches(match: Match, refusals: Refusals): void {
  refuseRegex("uri", match.uri, refusals);
  for (const field of matchedParts) refuseStringMatch(field, match[field], refusals);
  for (const field of matchedMaps) {
    const count = refusals.count;
    for (const name of Object.keys(match[field])) refuseStringMatch(name, match[field][name], refusals);
    refusals.below(count, field);
  }
}

function refuseStringMatch(field: string, match: StringMatch | undefined, refusals: Refusals): void {
  if (match?.prefix === "") refusals.add("An empty prefix is not allowed here", field, "prefix");
  refuseRegex(field, match, refusals);
}

function refuseRegex(field: string, match: StringMatch | undefined, refusals: Refusals): void {
  if (match?.regex === "") refusals.add("An empty regex is not allowed", field, "regex");
  if (match?.regex !== undefined && match.regex.length > 1024)
    refusals.add("The regex is longer than 1024 characters", field, "regex");
}

/** Istio pkg/config/validation/virtualservice.go validateHTTPRoute, validation.go validateHTTPMirrors. */
function refuseMirroring({ mirrorPercent, mirrorPercentage, mirrors }: HttpRoute, refusals: Refusals): void {
  refusePercent(mirrorPercent, refusals, "mirrorPercent");
  refusePercent(mirrorPercentage?.value, refusals, "mirrorPercentage", "value");
  for (let i = 0; i < mirrors.length; i++)
    refusePercent(mirrors[i]?.percentage?.value, refusals, "mirrors", i, "percentage", "value");
}

function refusePercent(percent: number | undefined, refusals: Refusals, ...at: (string | number)[]): void {
  if (percent !== undefined && (percent < 0 || percent > 100))
    refusals.add(`Mirror percentage ${percent} is not between 0 and 100`, ...at);
}

/** Istio pkg/config/validation/validation.go validateHTTPRedirect. */
function refuseRedirect({ redirect, match }: HttpRoute, refusals: Refusals): void {
  if (redirect === undefined) return;
  const count = refusals.count;
  const { uri, prefixRewrite } = redirect;
  if (uri && prefixRewrite) refusals.add("A redirect cannot have uri and prefixRewrite");
  if (prefixRewrite && match.some((one) => one.uri !== undefined && one.uri.prefix === undefined))
    refusals.add("prefixRewrite needs every uri match to be a prefix", "prefixRewrite");
  if (!hasTarget(redirect))
    refusals.add("The redirect has no target: it needs uri, prefixRewrite, authority, scheme or port");
  refuseRedirectValues(redirect, refusals);
  refusals.below(count, "redirect");
}

type Redirect = NonNullable<HttpRoute["redirect"]>;

function refuseRedirectValues({ redirectCode, scheme }: Redirect, refusals: Refusals): void {
  if (redirectCode && (redirectCode < 300 || redirectCode > 399))
    refusals.add(`Redirect code ${redirectCode} is not between 300 and 399`, "redirectCode");
  if (scheme && !["http", "https"].includes(scheme))
    refusals.add(`Redirect scheme "${scheme}" is neither http nor https`, "scheme");
}

function hasTarget(redirect: Redirect): boolean {
  const { uri, prefixRewrite, authority, scheme, port, derivePort } = redirect;
  const isPortSaid = port !== undefined || derivePort !== undefined;
  return isPortSaid || [uri, prefixRewrite, authority, scheme].some((text) => text);
}

/** Istio pkg/config/validation/validation.go validateHTTPDirectResponse, validateHTTPFaultInjection. */
function refuseAnswers({ directResponse, fault }: HttpRoute, refusals: Refusals): void {
  const status = directResponse && (directResponse.status ?? 0);
  if (status !== undefined && (status < 200 || status > 600))
    refusals.add(`Status ${status} is not between 200 and 600`, "directResponse");
  if (fault && !fault.abort && !fault.delay) refusals.add("The fault has no effect: it needs abort or delay", "fault");
}

/** Istio pkg/config/validation/validation.go validateHTTPRewrite, validateURIRegexRewrite. */
function refuseRewrite(rewrite: HttpRoute["rewrite"], refusals: Refusals): void {
  if (rewrite === undefined) return;
  const count = refusals.count;
  const { uri, uriRegexRewrite: regex, authority } = rewrite;
  if (uri && regex) refusals.add("A rewrite cannot have uri and uriRegexRewrite");
  if (!uri && !regex && !authority)
    refusals.add("The rewrite has no effect: it needs uri, uriRegexRewrite or authority");
  if (regex && (!regex.match || !regex.rewrite))
    refusals.add("uriRegexRewrite needs match and rewrite", "uriRegexRewrite");
  refusals.below(count, "rewrite");
}

/** Istio pkg/config/validation/agent/validation.go supportedRetryOnPolicies; beside them, HTTP statuses. */
const retryConditions = new Set(
  "5xx,gateway-error,reset,reset-before-request,connect-failure,retriable-4xx,refused-stream,retriable-status-codes,retriable-headers,envoy-ratelimited,http3-post-connect-failure,cancelled,deadline-exceeded,internal,resource-exhausted,unavailable".split(
    ",",
  ),
);

/** Istio pkg/config/validation/agent/validation.go ValidateHTTPRetry. */
function refuseRetries(retries: HttpRoute["retries"], refusals: Refusals): void {
  if (retries === undefined) return;
  const count = refusals.count;
  const { attempts = 0, perTryTimeout, retryOn } = retries;
  if (attempts < 0) refusals.add(`Retry attempts ${attempts} are negative`, "attempts");
  if (attempts === 0 && (perTryTimeout !== undefined || retryOn))
    refusals.add("Retries with 0 attempts cannot have perTryTimeout or retryOn");
  for (const condition of retryOn ? retryOn.split(",") : [])
    if (!isRetryCondition(condition))
      refusals.add(`retryOn: "${condition}" is not a condition that Istio supports`, "retryOn");
  refusals.below(count, "retries");
}

/** The statuses that Go's net/http has a text for. */
const isStatus = /^\+?0*(?:10[0-3]|20[0-8]|226|30[0-57-8]|4(?:0\d|1[0-8]|2[1-689]|31|51)|5(?:0[0-8]|1[01]))$/;

const isRetryCondition = (condition: string): boolean => retryConditions.has(condition) || isStatus.test(condition);
