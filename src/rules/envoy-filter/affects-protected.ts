import { defineRule } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { attachesToGateway, type AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { gatewaysOfNamespace } from "../../mesh/membership/gateways.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { isProxy, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

type EnvoyFilter = ObjectOf<"EnvoyFilter">;

/**
 * A namespace and the EnvoyFilters that patch proxies in it: its own and those of the root namespace (Istio
 * pilot/pkg/model/push_context.go EnvoyFilters). One without patches changes nothing.
 */
const envoyFiltersOfNamespace = relation(
  "envoyFiltersOfNamespace",
  index("Namespace", ({ metadata }, { rootNamespace }) => [metadata.name, rootNamespace]),
  index("EnvoyFilter", (filter, settings) =>
    isServed(filter, settings) && filter.spec.configPatches.length > 0 ? [filter.metadata.namespace] : [],
  ),
);

const readsEnvoyFilters = [envoyFiltersOfNamespace, gatewaysOfNamespace, workloadsOfNamespace] as const;
type Reads = (typeof readsEnvoyFilters)[number];

/** Whether a filter patches proxies of a namespace for certain or possibly; undefined: it does not. */
type FilterReach = "sure" | "possible" | undefined;

/**
 * Whether a filter patches some proxy of the namespace (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy):
 * a sidecar or gateway by its labels, a waypoint only through targetRefs. ztunnel takes no patches.
 */
function filterReach(filter: EnvoyFilter, namespace: Namespace, mesh: MeshView<Reads>): FilterReach {
  if (filter.spec.targetRefs.length > 0) return targetReach(filter, namespace, mesh);
  const labels = filter.spec.workloadSelector?.labels ?? {};
  const captures = mesh
    .related(workloadsOfNamespace, namespace)
    .filter(({ pod }) => selects(labels, pod.labels))
    .map((workload) => (isProxy(workload) ? "sidecar" : captureOf(workload, namespace)));
  if (captures.includes("sidecar")) return "sure";
  const mayBeMore = !mesh.knowsAll("Workload");
  return captures.includes("unknown") || mayBeMore ? "possible" : undefined;
}

function targetReach({ metadata, spec }: EnvoyFilter, namespace: Namespace, mesh: MeshView<Reads>): FilterReach {
  // An EnvoyFilter is attached like a policy, and these functions accept policies.
  const asPolicy = { metadata, spec: { targetRefs: spec.targetRefs } } as unknown as AuthorizationPolicy;
  const isHere = metadata.namespace === namespace.metadata.name;
  const targetsService = spec.targetRefs.some(({ kind }) => kind === "Service" || kind === "ServiceEntry");
  const isAttached = mesh
    .related(gatewaysOfNamespace, namespace)
    .some(({ metadata: { name }, spec: { gatewayClassName } }) =>
      attachesToGateway(
        asPolicy,
        { name, namespace: namespace.metadata.name, isWaypoint: gatewayClassName === "istio-waypoint" },
        mesh.settings,
      ),
    );
  if (isAttached || (isHere && targetsService)) return "sure";
  return mesh.knowsAll("KubernetesGateway") ? undefined : "possible";
}

export const envoyFilterAffectsProtected = defineRule({
  id: "envoy-filter-affects-protected",
  subject: "Namespace",
  reads: readsEnvoyFilters,
  worksWithout: ["KubernetesGateway", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary: "A new or changed EnvoyFilter patches the proxies of a namespace.",
  why: "An EnvoyFilter rewrites what istiod generates (Istio pilot/pkg/networking/core/envoyfilter): it can remove mTLS, authorization and routes, and Istio reports nothing. One without a workloadSelector in the root namespace patches the whole mesh.",
  fix: "Ask the owner of the namespace to review the patches. If the filter is for other workloads, set their workloadSelector. Most use cases have their own API: Telemetry, AuthorizationPolicy, VirtualService, WasmPlugin.",

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
      const what = known === undefined ? "patches" : "changes its patches of";
      yield {
        at: [],
        message: `${idOf(filter)} ${what} proxies of namespace ${name}, which can change their mTLS, authorization and routes`,
        key: idOf(filter),
        related: [filter],
        ...(reach === "sure" ? {} : { atMost: "warn" }),
      };
    }
  },
});

const isSame = (a: EnvoyFilter, b: EnvoyFilter): boolean =>
  a === b || JSON.stringify(a.spec) === JSON.stringify(b.spec);
