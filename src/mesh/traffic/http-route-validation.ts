import type { Path } from "../../kube/read.ts";
import { isDomain, isLabel } from "./host-syntax.ts";
import type { HttpRoute } from "./virtual-services.ts";

/** A validation error of istiod, with its path. */
export interface Refusal {
  readonly at: Path;
  readonly message: string;
}

export const isPort = (port: number): boolean => port >= 1 && port <= 65535;

/** Istio pkg/config/validation/virtualservice.go validateHTTPRoute, except for its destinations. */
export function* refusedHttpRoute(route: HttpRoute, at: Path, isInDelegate: boolean): Iterable<Refusal> {
  yield* refusedActions(route, at, isInDelegate);
  for (const [i, match] of route.match.entries()) {
    yield* refusedMatch(match, [...at, "match", i]);
    yield* refusedStringMatches(match, [...at, "match", i]);
  }
  yield* refusedMirroring(route, at);
  yield* refusedRedirect(route, [...at, "redirect"]);
  yield* refusedAnswers(route, at);
  yield* refusedRewrite(route.rewrite, [...at, "rewrite"]);
  yield* refusedRetries(route.retries, [...at, "retries"]);
}

/** Istio pkg/config/validation/virtualservice.go validateHTTPRouteConflict. */
function* refusedActions(route: HttpRoute, at: Path, isInDelegate: boolean): Iterable<Refusal> {
  if (route.delegate !== undefined && !isInDelegate) {
    if (route.redirect) yield { at, message: "A route with delegate cannot have redirect too" };
    if (route.route.length > 0) yield { at, message: "A route with delegate cannot have destinations of its own" };
    return;
  }
  if (route.delegate !== undefined) yield { at: [...at, "delegate"], message: "A delegate cannot delegate further" };
  yield* refusedAction(route, at);
  if (route.mirror !== undefined && route.mirrors.length > 0)
    yield { at, message: "A route cannot have mirror and mirrors" };
}

function* refusedAction(route: HttpRoute, at: Path): Iterable<Refusal> {
  if (route.redirect !== undefined) yield* refusedBeside("redirect", route, at);
  else if (route.directResponse !== undefined) yield* refusedBeside("directResponse", route, at);
  else if (route.route.length === 0)
    yield { at, message: "The route has no action: it needs route, redirect, directResponse or delegate" };
}

function* refusedBeside(action: "redirect" | "directResponse", route: HttpRoute, at: Path): Iterable<Refusal> {
  if (route.route.length > 0) yield { at, message: `A route cannot have ${action} and route` };
  for (const other of ["fault", "rewrite"] as const)
    if (route[other] !== undefined) yield { at, message: `A route cannot have ${action} and ${other}` };
  if (action === "redirect" && route.directResponse !== undefined)
    yield { at, message: "A route cannot have redirect and directResponse" };
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
export function* refusedMatch({ port, gateways, sourceNamespace }: SourceMatch, at: Path): Iterable<Refusal> {
  if (port !== undefined && port !== 0 && !isPort(port))
    yield { at: [...at, "port"], message: `Port ${port} is not between 1 and 65535` };
  if (sourceNamespace && !isLabel(sourceNamespace))
    yield { at: [...at, "sourceNamespace"], message: `"${sourceNamespace}" is not a namespace name` };
  yield* refusedGateways(gateways, [...at, "gateways"], false);
}

/**
 * Istio pkg/config/validation/validation.go validateGatewayNames, which stops at the first name without a namespace and
 * rejects `./name`.
 */
export function* refusedGateways(gateways: readonly string[], at: Path, isFromGatewayApi: boolean): Iterable<Refusal> {
  for (const [i, gateway] of gateways.entries()) {
    const slash = gateway.indexOf("/");
    const [namespace, name] = [gateway.slice(0, Math.max(slash, 0)), gateway.slice(slash + 1)];
    const isValid = slash < 0 ? isDomain(gateway) : isLabel(namespace) && (isLabel(name) || (isFromGatewayApi && name));
    if (!isValid)
      yield { at: [...at, i], message: `"${gateway}" is not a gateway name: write "name" or "namespace/name"` };
    if (slash < 0) return;
  }
}

type Match = HttpRoute["match"][number];
type StringMatch = NonNullable<Match["uri"]>;

/**
 * Istio pkg/config/validation/validation.go validateStringMatch, validateStringMatchRegexp: only a URI may have an
 * empty prefix.
 */
function* refusedStringMatches(match: Match, at: Path): Iterable<Refusal> {
  yield* refusedRegex(match.uri, [...at, "uri"]);
  for (const field of ["scheme", "method", "authority"] as const)
    yield* refusedStringMatch(match[field], [...at, field]);
  for (const field of ["headers", "withoutHeaders", "queryParams"] as const)
    for (const [name, value] of Object.entries(match[field])) yield* refusedStringMatch(value, [...at, field, name]);
}

function* refusedStringMatch(match: StringMatch | undefined, at: Path): Iterable<Refusal> {
  if (match?.prefix === "") yield { at: [...at, "prefix"], message: "An empty prefix is not allowed here" };
  yield* refusedRegex(match, at);
}

function* refusedRegex(match: StringMatch | undefined, at: Path): Iterable<Refusal> {
  if (match?.regex === "") yield { at: [...at, "regex"], message: "An empty regex is not allowed" };
  if (match?.regex !== undefined && match.regex.length > 1024)
    yield { at: [...at, "regex"], message: "The regex is longer than 1024 characters" };
}

/** Istio pkg/config/validation/virtualservice.go validateHTTPRoute, validation.go validateHTTPMirrors. */
function* refusedMirroring({ mirrorPercent, mirrorPercentage, mirrors }: HttpRoute, at: Path): Iterable<Refusal> {
  const asked: [Path, number | undefined][] = [
    [["mirrorPercent"], mirrorPercent],
    [["mirrorPercentage", "value"], mirrorPercentage?.value],
    ...mirrors.map(({ percentage }, i): [Path, number | undefined] => [
      ["mirrors", i, "percentage", "value"],
      percentage?.value,
    ]),
  ];
  for (const [path, percent] of asked)
    if (percent !== undefined && (percent < 0 || percent > 100))
      yield { at: [...at, ...path], message: `Mirror percentage ${percent} is not between 0 and 100` };
}

/** Istio pkg/config/validation/validation.go validateHTTPRedirect. */
function* refusedRedirect({ redirect, match }: HttpRoute, at: Path): Iterable<Refusal> {
  if (redirect === undefined) return;
  const { uri, prefixRewrite } = redirect;
  if (uri && prefixRewrite) yield { at, message: "A redirect cannot have uri and prefixRewrite" };
  if (prefixRewrite && match.some((one) => one.uri !== undefined && one.uri.prefix === undefined))
    yield { at: [...at, "prefixRewrite"], message: "prefixRewrite needs every uri match to be a prefix" };
  if (!hasTarget(redirect))
    yield { at, message: "The redirect has no target: it needs uri, prefixRewrite, authority, scheme or port" };
  yield* refusedRedirectValues(redirect, at);
}

type Redirect = NonNullable<HttpRoute["redirect"]>;

function* refusedRedirectValues({ redirectCode, scheme }: Redirect, at: Path): Iterable<Refusal> {
  if (redirectCode && (redirectCode < 300 || redirectCode > 399))
    yield { at: [...at, "redirectCode"], message: `Redirect code ${redirectCode} is not between 300 and 399` };
  if (scheme && !["http", "https"].includes(scheme))
    yield { at: [...at, "scheme"], message: `Redirect scheme "${scheme}" is neither http nor https` };
}

function hasTarget(redirect: Redirect): boolean {
  const { uri, prefixRewrite, authority, scheme, port, derivePort } = redirect;
  const isPortSaid = port !== undefined || derivePort !== undefined;
  return isPortSaid || [uri, prefixRewrite, authority, scheme].some((text) => text);
}

/** Istio pkg/config/validation/validation.go validateHTTPDirectResponse, validateHTTPFaultInjection. */
function* refusedAnswers({ directResponse, fault }: HttpRoute, at: Path): Iterable<Refusal> {
  const status = directResponse && (directResponse.status ?? 0);
  if (status !== undefined && (status < 200 || status > 600))
    yield { at: [...at, "directResponse"], message: `Status ${status} is not between 200 and 600` };
  if (fault && !fault.abort && !fault.delay)
    yield { at: [...at, "fault"], message: "The fault has no effect: it needs abort or delay" };
}

/** Istio pkg/config/validation/validation.go validateHTTPRewrite, validateURIRegexRewrite. */
function* refusedRewrite(rewrite: HttpRoute["rewrite"], at: Path): Iterable<Refusal> {
  if (rewrite === undefined) return;
  const { uri, uriRegexRewrite: regex, authority } = rewrite;
  if (uri && regex) yield { at, message: "A rewrite cannot have uri and uriRegexRewrite" };
  if (!uri && !regex && !authority)
    yield { at, message: "The rewrite has no effect: it needs uri, uriRegexRewrite or authority" };
  if (regex && (!regex.match || !regex.rewrite))
    yield { at: [...at, "uriRegexRewrite"], message: "uriRegexRewrite needs match and rewrite" };
}

/** Istio pkg/config/validation/agent/validation.go supportedRetryOnPolicies; numbers are HTTP statuses. */
const retryConditions = new Set(
  "5xx,gateway-error,reset,reset-before-request,connect-failure,retriable-4xx,refused-stream,retriable-status-codes,retriable-headers,envoy-ratelimited,http3-post-connect-failure,cancelled,deadline-exceeded,internal,resource-exhausted,unavailable".split(
    ",",
  ),
);

/** Istio pkg/config/validation/agent/validation.go ValidateHTTPRetry. */
function* refusedRetries(retries: HttpRoute["retries"], at: Path): Iterable<Refusal> {
  if (retries === undefined) return;
  const { attempts = 0, perTryTimeout, retryOn } = retries;
  if (attempts < 0) yield { at: [...at, "attempts"], message: `Retry attempts ${attempts} are negative` };
  if (attempts === 0 && (perTryTimeout !== undefined || retryOn))
    yield { at, message: "Retries with 0 attempts cannot have perTryTimeout or retryOn" };
  for (const condition of unknownConditions(retryOn))
    yield { at: [...at, "retryOn"], message: `retryOn: "${condition}" is not a condition that Istio supports` };
}

const unknownConditions = (retryOn: string | undefined): readonly string[] =>
  (retryOn ? retryOn.split(",") : []).filter((one) => !retryConditions.has(one) && !/^[+-]?\d+$/.test(one));
