import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { asksForNoVersion, isInNoContext } from "../../mesh/authorization/envoy-filter-scope.ts";
import { isServed } from "../../mesh/objects/revision.ts";

export const envoyFilterPatchIgnored = defineRule({
  id: "envoy-filter-patch-ignored",
  subject: "EnvoyFilter",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  summary:
    "A patch has no effect, because istiod does not apply such an operation to what the patch is for, or because no proxy has what its match asks for.",
  why: "For each kind of configuration istiod applies only some operations, and it skips a patch with another one, without a word in its status or its log (Istio pilot/pkg/networking/core/envoyfilter/listener_patch.go, pilot/pkg/networking/core/envoyfilter/rc_patch.go, pilot/pkg/networking/core/envoyfilter/cluster_patch.go, pilot/pkg/networking/core/envoyfilter/extension_configuration_patch.go). An insertion where there is no order is an ADD (pilot/pkg/model/envoyfilter.go convertToEnvoyFilterWrapper). What removes or replaces a filter has to name it in its match: without one, nothing is removed. Nothing is patched in the context WAYPOINT: waypoints have the contexts of sidecars (pilot/pkg/networking/core/listener_builder.go patchListeners).",
  fix: "Choose an operation that istiod applies there.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The configuration of the proxies (`istioctl proxy-config`) does not have what the patch adds, or still has what it removes.",
    wayOut:
      "Nothing fails because of it. With another operation, the patch applies at once at all proxies that it selects: try it on one workload first.",
    silentWhen: "The operation is one that istiod applies, but what the match describes is not there.",
    page: "https://istio.io/latest/docs/reference/config/networking/envoy-filter/",
  },

  *check(filter, { settings }) {
    if (!isServed(filter, settings)) return;
    for (const [i, patch] of filter.spec.configPatches.entries()) {
      const problem = forNoProxy(patch) ?? problemOf(patch);
      if (problem !== undefined) yield { ...problem, at: ["spec", "configPatches", i, ...problem.at] };
    }
  },
});

type Patch = ObjectOf<"EnvoyFilter">["spec"]["configPatches"][number];

const merges = ["MERGE", "MERGE_AND_REPLACE_LIST"] as const;
const insertions: ReadonlySet<string> = new Set(["INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER"]);
const ofFilters = ["ADD", ...insertions, "MERGE", "REPLACE", "REMOVE"] as const;

/** The operations that istiod applies, by what a patch is for. */
const applied: ReadonlyMap<string | undefined, readonly string[]> = new Map<string, readonly string[]>([
  ["LISTENER", ["ADD", ...merges, "REMOVE"]],
  ["LISTENER_FILTER", ofFilters],
  ["FILTER_CHAIN", ["ADD", ...merges, "REMOVE"]],
  ["NETWORK_FILTER", ofFilters],
  ["HTTP_FILTER", ofFilters],
  ["ROUTE_CONFIGURATION", merges],
  ["VIRTUAL_HOST", ["ADD", ...merges, "REPLACE", "REMOVE"]],
  ["HTTP_ROUTE", ["ADD", ...insertions, ...merges, "REMOVE"]],
  ["CLUSTER", ["ADD", ...merges, "REMOVE"]],
  ["EXTENSION_CONFIG", ["ADD"]],
]);

/** What is known of an operation: those of later versions of Istio are not judged. */
const known: ReadonlySet<string> = new Set([...ofFilters, ...merges]);

/** A patch whose match excludes every proxy. */
function forNoProxy(patch: Patch): Problem | undefined {
  if (asksForNoVersion(patch))
    return {
      at: ["match", "proxy", "proxyVersion"],
      message: "istiod ignores the patch: its proxyVersion has more than 1024 bytes, and istiod compares none as long",
      fix: "Write a shorter regular expression.",
    };
  if (!isInNoContext(patch)) return undefined;
  return {
    at: ["match", "context"],
    message: "istiod ignores the patch: no proxy has the context WAYPOINT",
    fix: "Choose the context SIDECAR_INBOUND, which waypoints have, and target the waypoint with targetRefs.",
  };
}

function problemOf(patch: Patch): Problem | undefined {
  const { applyTo } = patch;
  const operation = patch.patch?.operation;
  const operations = applied.get(applyTo);
  if (operation === undefined || operations === undefined || !known.has(operation)) return undefined;
  const isAdded = insertions.has(operation) && !operations.includes(operation);
  if (!operations.includes(isAdded ? "ADD" : operation))
    return {
      at: operationAt,
      message: `istiod ignores the patch: it does not apply ${operation}${isAdded ? ", which it takes for ADD," : ""} to ${applyTo}`,
      fix: `Choose one of the operations that istiod applies there: ${operations.join(", ")}.`,
    };
  const match = missingMatch(patch, operation);
  return match === undefined
    ? undefined
    : {
        at: operationAt,
        message: `istiod ignores the patch: ${operation} of ${applyTo} applies only to the filter that ${match} names`,
        fix: `Name the filter with ${match}.`,
      };
}

const operationAt = ["patch", "operation"];

interface Needed {
  readonly operations: ReadonlySet<string>;
  readonly field: string;
  readonly isIn: (match: NonNullable<Patch["match"]>) => boolean;
}

const atFilter = "match.listener.filterChain.filter";

/** The field without which istiod leaves all filters as they are. */
const needed: ReadonlyMap<string | undefined, Needed> = new Map<string, Needed>([
  [
    "LISTENER_FILTER",
    {
      operations: new Set(["REPLACE", "REMOVE", "MERGE"]),
      field: "match.listener.listenerFilter",
      isIn: ({ listener }) => Boolean(listener?.listenerFilter),
    },
  ],
  [
    "NETWORK_FILTER",
    {
      operations: new Set(["REPLACE", "REMOVE"]),
      field: atFilter,
      isIn: ({ listener }) => listener?.filterChain?.filter !== undefined,
    },
  ],
  [
    "HTTP_FILTER",
    {
      operations: new Set(["REPLACE", "REMOVE"]),
      field: `${atFilter}.subFilter`,
      isIn: ({ listener }) => listener?.filterChain?.filter?.subFilter !== undefined,
    },
  ],
]);

function missingMatch({ applyTo, match }: Patch, operation: string): string | undefined {
  const one = needed.get(applyTo);
  return one === undefined || !one.operations.has(operation) || (match !== undefined && one.isIn(match))
    ? undefined
    : one.field;
}
