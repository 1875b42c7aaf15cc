import { RE2JS } from "@bufbuild/re2";
import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { entriesOf, type Fields, fieldsOf, isSet, itemsOf, type Refused, textOf, type Written } from "./raw.ts";
import { refusedScope, refusedSelector } from "./selectors.ts";

/** validateTelemetryMetrics. */
export function* refuseTelemetry({ spec }: Written): Refused {
  yield* refusedScope(spec);
  for (const { fields, at } of itemsOf(spec["metrics"], ["spec", "metrics"]))
    for (const override of itemsOf(fields["overrides"], [...at, "overrides"]))
      yield* refusedTags(override.fields["tagOverrides"], [...override.at, "tagOverrides"]);
}

function* refusedTags(tags: unknown, at: Path): Refused {
  for (const { fields, at: place } of entriesOf(tags, at)) {
    const isRemoved = fields["operation"] === "REMOVE";
    if (isRemoved === (textOf(fields["value"]) !== ""))
      yield {
        at: place,
        message: isRemoved ? "A tag that is removed has no value" : "A tag needs a value, unless it is removed",
      };
  }
}

/** validateWasmPluginVMConfig. */
export function* refuseWasmPlugin({ spec }: Written): Refused {
  yield* refusedScope(spec);
  const names = new Set<string>();
  for (const { fields, at } of itemsOf(fieldsOf(spec["vmConfig"])["env"], ["spec", "vmConfig", "env"])) {
    const name = textOf(fields["name"]);
    if (names.has(name)) yield { at: [...at, "name"], message: `Two variables have the name ${quoted(name)}` };
    names.add(name);
    if (textOf(fields["valueFrom"]) === "HOST" && textOf(fields["value"]) !== "")
      yield { at: [...at, "value"], message: "A variable of the host has no value of its own" };
  }
}

/** The selector and the targets of a TrafficExtension. */
export const refuseScope = ({ spec }: Written): Refused => refusedScope(spec);

/** The classes of what an EnvoyFilter applies to, and the match that each can have. */
const matches: ReadonlyMap<string, string> = new Map([
  ...["LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER"].map(
    (to) => [to, "listener"] as const,
  ),
  ...["ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"].map((to) => [to, "routeConfiguration"] as const),
  ["CLUSTER", "cluster"],
]);

/** Istio pkg/config/validation/envoyfilter/envoyfilter.go, without the contents of patches. */
export function* refuseEnvoyFilter({ spec }: Written): Refused {
  yield* refusedSelector(fieldsOf(spec["workloadSelector"])["labels"], ["spec", "workloadSelector", "labels"]);
  for (const { fields, at } of itemsOf(spec["configPatches"], ["spec", "configPatches"])) {
    const match = fieldsOf(fields["match"]);
    // Patches of waypoints have matches of their own, and their definition is still changing.
    if (match["context"] === "WAYPOINT") continue;
    const applyTo = textOf(fields["applyTo"]);
    if (applyTo === "" || applyTo === "INVALID") yield { at, message: "A patch needs applyTo" };
    yield* refusedPatch(fields["patch"], at);
    yield* refusedMatch(match, applyTo, [...at, "match"]);
  }
}

function* refusedPatch(patch: unknown, at: Path): Refused {
  const { operation, value } = fieldsOf(patch);
  if (!isSet(patch)) yield { at, message: "A patch needs the field patch" };
  else if (!isSet(operation)) yield { at: [...at, "patch"], message: "A patch needs an operation" };
  else if (!isSet(value) && operation !== "REMOVE")
    yield { at: [...at, "patch"], message: "A patch needs a value, unless its operation is REMOVE" };
}

function* refusedMatch(match: Fields, applyTo: string, at: Path): Refused {
  const own = matches.get(applyTo);
  if (own === undefined) return;
  for (const field of ["listener", "routeConfiguration", "cluster"])
    if (field !== own && isSet(match[field]))
      yield { at: [...at, field], message: `A patch of ${applyTo} is matched by ${own}, not by ${field}` };
  const version = textOf(fieldsOf(match["proxy"])["proxyVersion"]);
  if (version !== "") yield* refusedPattern(version, [...at, "proxy", "proxyVersion"]);
}

/** The regular expressions of a VirtualService; a rule repeats the other validations. */
export function* refuseVirtualService({ spec }: Written): Refused {
  for (const { fields, at } of itemsOf(spec["http"], ["spec", "http"])) {
    for (const match of itemsOf(fields["match"], [...at, "match"])) yield* refusedMatchers(match.fields, match.at);
    const origins = fieldsOf(fields["corsPolicy"])["allowOrigins"];
    for (const { value, at: place } of itemsOf(origins, [...at, "corsPolicy", "allowOrigins"]))
      yield* refusedMatcher(value, place);
  }
}

function* refusedMatchers(match: Fields, at: Path): Refused {
  for (const field of ["uri", "scheme", "method", "authority"]) yield* refusedMatcher(match[field], [...at, field]);
  for (const field of ["headers", "withoutHeaders", "queryParams"])
    for (const { value, at: place } of entriesOf(match[field], [...at, field])) yield* refusedMatcher(value, place);
}

function* refusedMatcher(matcher: unknown, at: Path): Refused {
  const regex = fieldsOf(matcher)["regex"];
  if (typeof regex === "string") yield* refusedPattern(regex, [...at, "regex"]);
}

/** validateStringRegexp: Envoy and Go use the same syntax. */
function* refusedPattern(pattern: string, at: Path): Refused {
  try {
    new RE2JS(pattern).test("");
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : "";
    yield { at, message: `${quoted(pattern)} is no regular expression in the syntax of RE2 (${reason})` };
  }
}
