import type { SettingsWith } from "../../view/settings.ts";
import { durationMs } from "./durations.ts";
import { fullHost } from "./hosts.ts";
import { meshGateway } from "./virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "./virtual-services.ts";

/** The retries of a route as Envoy performs them. */
export interface Retries {
  /** The number of retries after the first attempt; 0: none. */
  readonly attempts: number;
  readonly retryOn: readonly string[];
  /** Undefined: an attempt may take as long as the request. */
  readonly perTryTimeoutMs: number | undefined;
  /** Whether the route sets them; otherwise they are those of the mesh config, or Istio's default. */
  readonly isSet: boolean;
}

/**
 * Istio's default: two retries of requests that no application has processed, and of answers for which the server says so
 * (Istio pilot/pkg/networking/core/route/retry/retry.go DefaultPolicy).
 */
const defaultRetryOn = ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"];

/**
 * The retries of a route: those that it sets, else those of the mesh config, as a whole (Istio
 * pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination). `attempts: 0` and a missing number switch them off; status
 * codes in retryOn are conditions too (pilot/pkg/networking/core/route/retry/retry.go ConvertPolicy).
 */
export function retriesOf(
  route: Pick<HttpRoute, "retries">,
  { defaultRetries }: SettingsWith<"defaultRetries">,
): Retries {
  const retries = route.retries ?? defaultRetries;
  const isSet = route.retries !== undefined;
  if (retries === undefined) return { attempts: 2, retryOn: defaultRetryOn, perTryTimeoutMs: undefined, isSet };
  const said = (retries.retryOn ?? "")
    .split(",")
    .map((condition) => condition.trim())
    .filter((condition) => condition !== "");
  const attempts = Math.max(0, retries.attempts ?? 0);
  const perTryTimeoutMs = durationMs(retries.perTryTimeout);
  return { attempts, retryOn: said.length > 0 ? said : defaultRetryOn, perTryTimeoutMs, isSet };
}

/** The timeout of a route; undefined: none, which is Istio's default (route.go TranslateRoute). */
export const timeoutMsOf = ({ timeout }: HttpRoute): number | undefined => durationMs(timeout) || undefined;

/**
 * Conditions that are also true after the application has processed the request. `retriable-4xx` is not one of them: it stands for 409
 * alone (Envoy's documentation of the router filter), with which an application refuses a request.
 */
const afterProcessing = new Set(["5xx", "gateway-error", "reset", "http3-post-connect-failure"]);

/** The conditions under which a request is repeated although the application may have processed it. */
export const conditionsAfterProcessing = ({ attempts, retryOn }: Retries): readonly string[] =>
  attempts === 0 ? [] : retryOn.filter((condition) => afterProcessing.has(condition) || /^5\d\d$/.test(condition));

/** A route that sends requests to a proxy which applies another route of the same VirtualService, and retries too. */
export interface MultipliedRetries {
  /** The position of the first route. */
  readonly i: number;
  readonly route: HttpRoute;
  /** How often each of the two routes sends a request at most, retries included. */
  readonly tries: readonly [first: number, second: number];
  /** The position of the second route. */
  readonly j: number;
}

/**
 * The http routes of a VirtualService whose retries multiply: one, for sidecars or a gateway, sends requests to a service that is none
 * of its hosts, such as an egress gateway, and another one, for another gateway, sends them from there to a host of the
 * VirtualService. Only retries of the first route for answers of a server count: these also repeat what the second
 * has tried.
 */
export function* multipliedRetries(
  { metadata, spec }: VirtualService,
  settings: SettingsWith<"defaultRetries">,
): Iterable<MultipliedRetries> {
  const all = new Set(spec.gateways.length === 0 ? [meshGateway] : spec.gateways);
  // The second route is for some of several gateways.
  if (all.size < 2) return;
  const full = (host: string) => fullHost(host, metadata.namespace, settings.domain);
  const hosts = new Set(spec.hosts.map(full));
  const isToHosts = ({ route }: HttpRoute) => route.some(({ destination }) => hosts.has(full(destination.host)));
  const from = ({ match }: HttpRoute): ReadonlySet<string> =>
    new Set(match.length === 0 ? all : match.flatMap(({ gateways }) => (gateways.length === 0 ? [...all] : gateways)));
  const [second] = spec.http
    .filter((route) => isToHosts(route) && from(route).size < all.size)
    .toSorted((a, b) => retriesOf(b, settings).attempts - retriesOf(a, settings).attempts);
  // One that repeats nothing multiplies nothing.
  if (second === undefined || retriesOf(second, settings).attempts === 0) return;
  const last = from(second);
  for (const [i, route] of spec.http.entries()) {
    if (route.route.length === 0 || isToHosts(route) || !from(route).isDisjointFrom(last)) continue;
    const retries = retriesOf(route, settings);
    if (conditionsAfterProcessing(retries).length === 0) continue;
    yield {
      i,
      route,
      tries: [retries.attempts + 1, retriesOf(second, settings).attempts + 1],
      j: spec.http.indexOf(second),
    };
  }
}

/** Methods whose repetition has a further effect (RFC 9110, section 9.2.2). */
const notIdempotent = ["POST", "PATCH"];

type MethodMatch = HttpRoute["match"][number]["method"];

/** Of a regular expression, only a list of words, such as `^(POST|PUT)$`, is decided; it matches the whole method. */
const words = /^\^?\(?(?:\?:)?([A-Za-z]+(?:\|[A-Za-z]+)*)\)?\$?$/;
const anyMethod: ReadonlySet<string> = new Set([".*", ".+", "*"]);

function matchesMethod(match: MethodMatch, method: string): boolean {
  if (match?.exact) return match.exact === method;
  if (match?.prefix) return method.startsWith(match.prefix);
  return (
    words
      .exec(match?.regex ?? "")?.[1]
      ?.split("|")
      .includes(method) ?? false
  );
}

const isForEveryMethod = (match: MethodMatch): boolean =>
  match?.regex === undefined ? !match?.exact && !match?.prefix : anyMethod.has(match.regex);

/** Whether a route names POST or PATCH, leaves them out, or does not mention methods. */
export function methodsRepeated({ match }: HttpRoute): "named" | "left out" | "not mentioned" {
  const methods = match.map(({ method }) => method);
  if (methods.some((method) => notIdempotent.some((name) => matchesMethod(method, name)))) return "named";
  return methods.length === 0 || methods.some(isForEveryMethod) ? "not mentioned" : "left out";
}
