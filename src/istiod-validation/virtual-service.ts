import type { Path } from "../kube/read.ts";
import { nanosecondsOf } from "../text/go-durations.ts";
import { quoted } from "../text/printable.ts";
import { isAddressOrBlock } from "./addresses.ts";
import { refusedDuration } from "./durations.ts";
import { isClaim, isCorsHeader, isMatchedHeader, refusedHeaders, refusedHosts } from "./headers.ts";
import { refusedLabels } from "./labels.ts";
import {
  entriesOf,
  type Fields,
  fieldsOf,
  isSet,
  itemsOf,
  numberOf,
  type Refused,
  textOf,
  textsOf,
  type Written,
} from "./raw.ts";
import { refusedPattern } from "./regular-expressions.ts";

/**
 * What a rule, which repeats the rest of the validation, does not check in a VirtualService: regular expressions, headers,
 * durations, CORS, faults, labels and subnets (Istio pkg/config/validation/validation.go ValidateVirtualService,
 * virtualservice.go validateHTTPRoute).
 */
export function* refuseVirtualService({ spec }: Written): Refused {
  const gateways = Array.isArray(spec["gateways"]) ? spec["gateways"] : [];
  const isForGateways = gateways.length > 0 && !gateways.includes("mesh");
  for (const { fields, at } of itemsOf(spec["http"], ["spec", "http"])) {
    for (const match of itemsOf(fields["match"], [...at, "match"])) {
      yield* refusedMatch(match.fields, match.at);
      if (!isForGateways) yield* refusedClaims(match.fields, match.at);
    }
    yield* refusedRoute(fields, at);
  }
  for (const protocol of ["tcp", "tls"])
    for (const { fields, at } of itemsOf(spec[protocol], ["spec", protocol]))
      for (const match of itemsOf(fields["match"], [...at, "match"])) yield* refusedConnection(match.fields, match.at);
}

/** validateTCPMatch, validateTLSMatch. */
function* refusedConnection(match: Fields, at: Path): Refused {
  for (const { text, at: place } of textsOf(match["destinationSubnets"], [...at, "destinationSubnets"]))
    if (!isAddressOrBlock(text)) yield { at: place, message: `${quoted(text)} is no IP address and no CIDR block` };
  yield* refusedLabels(match["sourceLabels"], [...at, "sourceLabels"]);
}

/** validateHTTPRouteMatchRequest. */
function* refusedMatch(match: Fields, at: Path): Refused {
  for (const field of ["uri", "scheme", "method", "authority"]) yield* refusedMatcher(match[field], [...at, field]);
  for (const field of ["headers", "withoutHeaders", "queryParams"])
    for (const { key, value, at: place } of entriesOf(match[field], [...at, field])) {
      if (field !== "queryParams" && !isMatchedHeader(key))
        yield { at: place, message: `${quoted(key)} is no name of a header` };
      // istiod replaces "*" by a match of every value.
      if (field !== "withoutHeaders" || fieldsOf(value)["regex"] !== "*") yield* refusedMatcher(value, place);
    }
  yield* refusedLabels(match["sourceLabels"], [...at, "sourceLabels"]);
}

function* refusedClaims(match: Fields, at: Path): Refused {
  for (const field of ["headers", "withoutHeaders"])
    for (const { key, at: place } of entriesOf(match[field], [...at, field]))
      if (isClaim(key))
        yield {
          at: place,
          message: `Only routes of gateways are chosen by claims of tokens (${key}), and this VirtualService is for the mesh`,
        };
}

function* refusedMatcher(matcher: unknown, at: Path): Refused {
  const regex = fieldsOf(matcher)["regex"];
  if (typeof regex === "string") yield* refusedPattern(regex, [...at, "regex"]);
}

function* refusedRoute(route: Fields, at: Path): Refused {
  yield* refusedHeaders(route["headers"], [...at, "headers"]);
  yield* refusedHosts(fieldsOf(route["rewrite"]), route["headers"], at);
  for (const destination of itemsOf(route["route"], [...at, "route"]))
    yield* refusedHeaders(destination.fields["headers"], [...destination.at, "headers"]);
  for (const mirror of itemsOf(route["mirrors"], [...at, "mirrors"]))
    if (!isSet(mirror.fields["destination"])) yield { at: mirror.at, message: "A mirror needs a destination" };
  // Istio reads the name of the protobuf field too.
  if (numberOf(route["mirror_percent"]) > 100)
    yield { at: [...at, "mirror_percent"], message: "A percentage is from 0 to 100" };
  yield* refusedCors(fieldsOf(route["corsPolicy"]), [...at, "corsPolicy"]);
  yield* refusedFault(fieldsOf(route["fault"]), [...at, "fault"]);
  yield* refusedDuration(route["timeout"], [...at, "timeout"]);
  yield* refusedRetries(fieldsOf(route["retries"]), [...at, "retries"]);
  const regex = fieldsOf(fieldsOf(route["rewrite"])["uriRegexRewrite"])["match"];
  if (typeof regex === "string") yield* refusedPattern(regex, [...at, "rewrite", "uriRegexRewrite", "match"]);
  yield* refusedAnswer(route, at);
}

/** agent/validation.go ValidateHTTPRetry. */
function* refusedRetries(retries: Fields, at: Path): Refused {
  for (const field of ["perTryTimeout", "backoff"]) yield* refusedDuration(retries[field], [...at, field]);
  if (numberOf(retries["attempts"]) === 0 && isSet(retries["retryRemoteLocalities"]))
    yield { at, message: "Retries with 0 attempts cannot have retryRemoteLocalities" };
}

const methods: ReadonlySet<string> = new Set("GET HEAD POST PUT PATCH DELETE CONNECT OPTIONS TRACE *".split(" "));

/** validateCORSPolicy. */
function* refusedCors(policy: Fields, at: Path): Refused {
  for (const { fields, value, at: place } of itemsOf(policy["allowOrigins"], [...at, "allowOrigins"])) {
    if (!["exact", "prefix", "regex"].some((field) => textOf(fields[field]) !== ""))
      yield { at: place, message: "An origin needs exact, prefix or regex" };
    yield* refusedMatcher(value, place);
  }
  for (const { text, at: place } of textsOf(policy["allowMethods"], [...at, "allowMethods"]))
    if (!methods.has(text)) yield { at: place, message: `${quoted(text)} is no HTTP method: they are in upper case` };
  for (const field of ["allowHeaders", "exposeHeaders"])
    for (const { text, at: place } of textsOf(policy[field], [...at, field]))
      if (!isCorsHeader(text)) yield { at: place, message: `${quoted(text)} is no name of a header` };
  yield* refusedAge(policy["maxAge"], [...at, "maxAge"]);
}

function* refusedAge(age: unknown, at: Path): Refused {
  const faults = [...refusedDuration(age, at)];
  yield* faults;
  if (faults.length === 0 && (nanosecondsOf(textOf(age)) ?? 0n) % 1_000_000_000n !== 0n)
    yield { at, message: `maxAge has whole seconds, and ${quoted(textOf(age))} does not` };
}

const grpcStatuses: ReadonlySet<string> = new Set(
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(
    " ",
  ),
);

/** validateHTTPFaultInjection. */
function* refusedFault({ abort, delay }: Fields, at: Path): Refused {
  yield* refusedPercentage(fieldsOf(abort)["percentage"], [...at, "abort", "percentage"]);
  const { httpStatus, grpcStatus, http2Error } = fieldsOf(abort);
  if (typeof httpStatus === "number" && (httpStatus < 200 || httpStatus > 600))
    yield { at: [...at, "abort", "httpStatus"], message: `Status ${httpStatus} is not between 200 and 600` };
  if (typeof grpcStatus === "string" && !grpcStatuses.has(grpcStatus))
    yield {
      at: [...at, "abort", "grpcStatus"],
      message: `${quoted(grpcStatus)} is no status of gRPC, such as NOT_FOUND`,
    };
  if (isSet(http2Error)) yield { at: [...at, "abort", "http2Error"], message: "Istio does not support http2Error" };
  yield* refusedPercentage(fieldsOf(delay)["percentage"], [...at, "delay", "percentage"]);
  yield* refusedDuration(fieldsOf(delay)["fixedDelay"], [...at, "delay", "fixedDelay"]);
  if (isSet(fieldsOf(delay)["exponentialDelay"]))
    yield { at: [...at, "delay", "exponentialDelay"], message: "Istio does not support exponentialDelay" };
}

/** validatePercentage. */
function* refusedPercentage(percentage: unknown, at: Path): Refused {
  const value = numberOf(fieldsOf(percentage)["value"]);
  if (value < 0 || value > 100 || (value > 0 && value < 0.0001))
    yield { at: [...at, "value"], message: `A percentage is 0, or from 0.0001 to 100, and ${value} is not` };
}

/** validateHTTPRedirect, validateHTTPDirectResponse. */
function* refusedAnswer(route: Fields, at: Path): Refused {
  const port = numberOf(fieldsOf(route["redirect"])["port"]);
  if (port > 65_535) yield { at: [...at, "redirect", "port"], message: `Port ${port} is not between 1 and 65535` };
  const { string, bytes } = fieldsOf(fieldsOf(route["directResponse"])["body"]);
  const size = typeof string === "string" ? new Blob([string]).size : Math.floor((textOf(bytes).length * 3) / 4);
  if (size > 1024 * 1024)
    yield { at: [...at, "directResponse", "body"], message: "A direct response has a body of 1 MB at most" };
}
