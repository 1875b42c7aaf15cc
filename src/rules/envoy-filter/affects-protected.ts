import { defineRule } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/kinds.ts";
import { type EnvoyFilter, envoyFiltersOfNamespace, filterReach, readsEnvoyFilters } from "../../mesh/envoy-filters.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";

export const affectsProtected = defineRule({
  id: "envoy-filter-affects-protected",
  subject: "Namespace",
  reads: readsEnvoyFilters,
  worksWithout: ["KubernetesGateway", "Namespace", "Workload"],
  mode: "warn",
  onlyProtected: true,
  tags: ["mtls", "authorization"],
  summary: "A new or changed EnvoyFilter patches the proxies of a namespace.",
  why: "An EnvoyFilter rewrites what istiod generates (Istio pilot/pkg/networking/core/envoyfilter): it can take out mTLS, authorization and routes, and nothing that Istio checks says so. One without a workloadSelector in the root namespace patches the whole mesh.",
  fix: "Let whoever answers for the namespace look at the patches; where a filter is for other workloads, give it their workloadSelector. Most needs have an API of their own: Telemetry, AuthorizationPolicy, VirtualService, WasmPlugin.",

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const old = new Map(
      before.mesh.related(envoyFiltersOfNamespace, before.object).map((filter) => [keyOf(filter), filter]),
    );
    const { name } = after.object.metadata;
    for (const filter of after.mesh.related(envoyFiltersOfNamespace, after.object)) {
      const known = old.get(keyOf(filter));
      if (known !== undefined && isSame(known, filter)) continue;
      const reach = filterReach(filter, after.object, after.mesh);
      if (reach === undefined) continue;
      const what = known === undefined ? "patches" : "patches otherwise than before";
      yield {
        at: [],
        message: `${idOf(filter)} ${what} proxies of namespace ${name}: mTLS, authorization and routes are what it makes of them`,
        key: idOf(filter),
        related: [filter],
        ...(reach === "sure" ? {} : { atMost: "warn" }),
      };
    }
  },
});

const isSame = (a: EnvoyFilter, b: EnvoyFilter): boolean =>
  a === b || JSON.stringify(a.spec) === JSON.stringify(b.spec);
