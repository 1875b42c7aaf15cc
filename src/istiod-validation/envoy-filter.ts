import type { Path } from "../kube/read.ts";
import { refusedValue } from "./envoy-contents.ts";
import { type Fields, fieldsOf, isSet, itemsOf, type Refused, textOf, type Written } from "./raw.ts";
import { refusedPattern } from "./regular-expressions.ts";
import { refusedSelector } from "./selectors.ts";

/** The classes of what an EnvoyFilter applies to, and the match that each can have. */
const matches: ReadonlyMap<string, string> = new Map([
  ...["LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"].map((to) => [to, "listener"] as const),
  ...["ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"].map((to) => [to, "routeConfiguration"] as const),
  ["CLUSTER", "cluster"],
]);

/** Istio pkg/config/validation/envoyfilter/envoyfilter.go. */
export function* refuseEnvoyFilter({ spec }: Written): Refused {
  yield* refusedSelector(fieldsOf(spec["workloadSelector"])["labels"], ["spec", "workloadSelector", "labels"]);
  for (const { fields, at } of itemsOf(spec["configPatches"], ["spec", "configPatches"])) {
    const match = fieldsOf(fields["match"]);
    // Patches of waypoints have matches of their own, and their definition is still changing.
    if (match["context"] === "WAYPOINT") continue;
    const applyTo = textOf(fields["applyTo"]);
    if (applyTo === "" || applyTo === "INVALID") yield { at, message: "A patch needs applyTo" };
    yield* refusedPatch(fields["patch"], applyTo, at);
    yield* refusedMatch(match, applyTo, [...at, "match"]);
  }
}

function* refusedPatch(patch: unknown, applyTo: string, at: Path): Refused {
  const { operation, value } = fieldsOf(patch);
  const place = [...at, "patch"];
  if (!isSet(patch)) yield { at, message: "A patch needs the field patch" };
  else if (!isSet(operation) || operation === "INVALID") yield { at: place, message: "A patch needs an operation" };
  else if (!isSet(value) && operation !== "REMOVE")
    yield { at: place, message: "A patch needs a value, unless its operation is REMOVE" };
  else yield* refusedValue(value, applyTo, [...place, "value"]);
}

function* refusedMatch(match: Fields, applyTo: string, at: Path): Refused {
  const version = textOf(fieldsOf(match["proxy"])["proxyVersion"]);
  if (version !== "" && version.length <= longestVersion)
    yield* refusedPattern(version, [...at, "proxy", "proxyVersion"]);
  const own = matches.get(applyTo);
  if (own === undefined) return;
  for (const field of ["listener", "routeConfiguration", "cluster", "waypoint"])
    if (field !== own && isSet(match[field]))
      yield { at: [...at, field], message: `A patch of ${applyTo} is matched by ${own}, not by ${field}` };
  const { filter } = fieldsOf(fieldsOf(match["listener"])["filterChain"]);
  if (own === "listener" && isSet(filter))
    yield* refusedFilter(fieldsOf(filter), applyTo, [...at, "listener", "filterChain", "filter"]);
}

/** istiod ignores a longer pattern. */
const longestVersion = 1024;
const connectionManagers = ["envoy.filters.network.http_connection_manager", "envoy.http_connection_manager"];

function* refusedFilter({ name, subFilter }: Fields, applyTo: string, at: Path): Refused {
  if (textOf(name) === "") yield { at, message: "A match of a filter needs its name" };
  if (!isSet(subFilter)) return;
  const place = [...at, "subFilter"];
  if (applyTo !== "HTTP_FILTER") yield { at: place, message: "A subFilter is matched only by patches of HTTP_FILTER" };
  else if (textOf(name) !== "" && !connectionManagers.includes(textOf(name)))
    yield {
      at: [...at, "name"],
      message: `A subFilter is one of ${connectionManagers[0]}, which is the filter's name`,
    };
  if (textOf(fieldsOf(subFilter)["name"]) === "") yield { at: place, message: "A match of a filter needs its name" };
}
