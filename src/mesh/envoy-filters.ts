import type { ObjectOf } from "../kube/kinds.ts";
import { attachesToGateway, type AuthorizationPolicy } from "./authorization/policies.ts";
import { gatewaysOfNamespace } from "./authorization/effective-authorization.ts";
import { captureOf } from "./membership/capture.ts";
import type { Namespace } from "./membership/namespaces.ts";
import { isServed } from "./objects/revision.ts";
import { selects } from "./objects/selectors.ts";
import { index, type MeshView, relation } from "../view/view.ts";
import { isProxy, workloadsOfNamespace } from "./membership/workloads.ts";

export type EnvoyFilter = ObjectOf<"EnvoyFilter">;

/**
 * A namespace and the EnvoyFilters that patch proxies in it: its own and those of the root namespace (Istio
 * pilot/pkg/model/push_context.go EnvoyFilters). One without patches changes nothing.
 */
export const envoyFiltersOfNamespace = relation(
  "envoyFiltersOfNamespace",
  index("Namespace", ({ metadata }, { rootNamespace }) => [metadata.name, rootNamespace]),
  index("EnvoyFilter", (filter, settings) =>
    isServed(filter, settings) && filter.spec.configPatches.length > 0 ? [filter.metadata.namespace] : [],
  ),
);

export const readsEnvoyFilters = [envoyFiltersOfNamespace, gatewaysOfNamespace, workloadsOfNamespace] as const;
type Reads = (typeof readsEnvoyFilters)[number];

/** How far a filter reaches into a namespace; undefined: not at all. */
export type FilterReach = "sure" | "possible" | undefined;

/**
 * Whether a filter patches some proxy of the namespace (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy):
 * a sidecar or gateway by its labels, a waypoint only through targetRefs. ztunnel takes no patches.
 */
export function filterReach(filter: EnvoyFilter, namespace: Namespace, mesh: MeshView<Reads>): FilterReach {
  if (filter.spec.targetRefs.length > 0) return targetReach(filter, namespace, mesh);
  const labels = filter.spec.workloadSelector?.labels ?? {};
  const captures = mesh
    .related(workloadsOfNamespace, namespace)
    .filter(({ pod }) => selects(labels, pod.labels))
    .map((workload) => (isProxy(workload) ? "sidecar" : captureOf(workload, namespace)));
  if (captures.includes("sidecar")) return "sure";
  const mayBeMore = mesh.knowledge("Workload") !== "complete";
  return captures.includes("unknown") || mayBeMore ? "possible" : undefined;
}

function targetReach({ metadata, spec }: EnvoyFilter, namespace: Namespace, mesh: MeshView<Reads>): FilterReach {
  // The same attachment as a policy's, which is what these functions read.
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
  return mesh.knowledge("KubernetesGateway") === "complete" ? undefined : "possible";
}
