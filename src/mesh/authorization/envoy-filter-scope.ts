import type { ObjectOf } from "../../kube/object.ts";
import type { Workload } from "../membership/workloads.ts";
import { type ProxyScope, type ProxyType, proxyTypeOf, scopeIn } from "./proxy-attachments.ts";

type EnvoyFilter = ObjectOf<"EnvoyFilter">;
type Patch = EnvoyFilter["spec"]["configPatches"][number];

const inMesh: readonly ProxyType[] = ["sidecar", "waypoint"];

/**
 * The proxies that have a context of patches; every other context is that of all (Istio pilot/pkg/networking/core/listener_builder.go
 * patchListeners, cluster.go buildClusters, httproute.go BuildHTTPRoutes, envoyfilter/listener_patch.go patchContextMatch). istiod
 * has nothing yet in the context WAYPOINT.
 */
const typesOfContext: ReadonlyMap<string, readonly ProxyType[]> = new Map([
  ["SIDECAR_INBOUND", inMesh],
  ["SIDECAR_OUTBOUND", inMesh],
  ["GATEWAY", ["gateway"]],
  ["WAYPOINT", ["waypoint"]],
]);

/** Extension configurations are sent in every context (envoyfilter/extension_configuration_patch.go InsertedExtensionConfigurations). */
const typesOf = ({ applyTo, match }: Patch): readonly ProxyType[] | undefined =>
  applyTo === "EXTENSION_CONFIG" ? undefined : typesOfContext.get(match?.context ?? "");

const known = new WeakMap<EnvoyFilter, ProxyScope>();

/** The proxies that an EnvoyFilter patches: those that it selects or targets and that have the context of one of its patches. */
export function scopeOfEnvoyFilter(filter: EnvoyFilter): ProxyScope {
  let found = known.get(filter);
  if (found === undefined) known.set(filter, (found = findScope(filter)));
  return found;
}

function findScope({ metadata, spec }: EnvoyFilter): ProxyScope {
  const scope = scopeIn(metadata.namespace, spec.workloadSelector?.labels, spec.targetRefs);
  const types = new Set<ProxyType>();
  for (const patch of spec.configPatches) {
    const ofPatch = typesOf(patch);
    if (ofPatch === undefined) return scope;
    for (const type of ofPatch) types.add(type);
  }
  return { ...scope, types: [...types].sort() };
}

/** Whether the proxy of a workload has the context of some patch, if the filter selects it. */
export const hasContextOf = (filter: EnvoyFilter, workload: Workload): boolean =>
  scopeOfEnvoyFilter(filter).types?.includes(proxyTypeOf(workload)) ?? true;
