import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { isInNoContext } from "../../mesh/authorization/envoy-filter-scope.ts";
import { canonicalNames, filterMeant } from "../../mesh/objects/envoy-filters.ts";
import { isServed } from "../../mesh/objects/revision.ts";

export const envoyFilterOldFilterName = defineRule({
  id: "envoy-filter-old-filter-name",
  subject: "EnvoyFilter",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  summary:
    "A patch asks for a filter by a name that Istio no longer gives it, or by a misspelt one, so the patch applies to nothing.",
  why: "Istio compares the name in a match with the names of the filters that it creates (Istio pilot/pkg/networking/core/envoyfilter/listener_patch.go networkFilterMatch, httpFilterMatch, listenerFilterMatch). They have their canonical names; those of old versions of Envoy, such as `envoy.router`, are no longer translated, and its validation only warns (pkg/config/validation/envoyfilter/envoyfilter.go).",
  fix: "Write the canonical name.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The configuration of the proxies (`istioctl proxy-config listener`) does not have what the patch adds.",
    wayOut:
      "Nothing fails because of it. With the canonical name, the patch applies at once at all proxies that it selects: try it on one workload first.",
    silentWhen:
      "The name is that of a filter which Istio does not create itself: another EnvoyFilter may add one of this name. Or the patch does not depend on the name: an ADD, or a patch of a whole listener or filter chain.",
    page: "https://istio.io/latest/docs/reference/config/networking/envoy-filter/",
  },

  *check(filter, { settings }) {
    if (!isServed(filter, settings)) return;
    for (const [i, patch] of filter.spec.configPatches.entries()) {
      if (isInNoContext(patch)) continue;
      for (const { name, at } of namesIn(patch)) {
        const canonical = name === undefined ? undefined : (canonicalNames.get(name) ?? filterMeant(name));
        if (canonical !== undefined)
          yield {
            at: ["spec", "configPatches", i, "match", "listener", ...at],
            message: `Istio creates no filter with the name "${name}", so the patch applies to nothing`,
            fix: `Write "${canonical}".`,
          };
      }
    }
  },
});

type Patch = ObjectOf<"EnvoyFilter">["spec"]["configPatches"][number];

/** Operations for which istiod looks for one filter; others add one, wherever it is. */
const compared: ReadonlySet<string> = new Set(["INSERT_BEFORE", "INSERT_AFTER", "MERGE", "REPLACE", "REMOVE"]);

type Listener = NonNullable<NonNullable<Patch["match"]>["listener"]>;
interface Named {
  readonly of: string;
  readonly at: Path;
  readonly nameIn: (listener: Listener) => string | undefined;
}

/** The names that istiod compares, by what a patch is for. */
const names: readonly Named[] = [
  { of: "HTTP_FILTER", at: ["filterChain", "filter", "name"], nameIn: ofFilter },
  {
    of: "HTTP_FILTER",
    at: ["filterChain", "filter", "subFilter", "name"],
    nameIn: ({ filterChain }) => filterChain?.filter?.subFilter?.name,
  },
  { of: "NETWORK_FILTER", at: ["filterChain", "filter", "name"], nameIn: ofFilter },
  { of: "LISTENER_FILTER", at: ["listenerFilter"], nameIn: ({ listenerFilter }) => listenerFilter },
];

function ofFilter({ filterChain }: Listener): string | undefined {
  return filterChain?.filter?.name;
}

/** The names that istiod compares: that of the connection manager for every patch of HTTP filters, others where it looks for a filter. */
function namesIn({
  applyTo,
  match,
  patch,
}: Patch): readonly { readonly name: string | undefined; readonly at: Path }[] {
  const listener = match?.listener;
  if (listener === undefined) return [];
  const isCompared = compared.has(patch?.operation ?? "");
  return names
    .filter(({ of, nameIn }) => of === applyTo && (isCompared || (of === "HTTP_FILTER" && nameIn === ofFilter)))
    .map(({ at, nameIn }) => ({ name: nameIn(listener), at }));
}
