import type { ObjectOf } from "../../kube/object.ts";
import { type ProxyScope, type ProxyType, scopeIn } from "./proxy-scope.ts";

type EnvoyFilter = ObjectOf<"EnvoyFilter">;
export type Patch = EnvoyFilter["spec"]["configPatches"][number];

const inMesh: readonly ProxyType[] = ["sidecar", "waypoint"];

/**
 * The proxies that have a context of patches; every other context is that of all (Istio pilot/pkg/networking/core/listener_builder.go
 * patchListeners, cluster.go buildClusters, httproute.go BuildHTTPRoutes, envoyfilter/listener_patch.go patchContextMatch). No proxy has
 * the context WAYPOINT: waypoints have those of sidecars.
 */
const typesOfContext: ReadonlyMap<string, readonly ProxyType[]> = new Map([
  ["SIDECAR_INBOUND", inMesh],
  ["SIDECAR_OUTBOUND", inMesh],
  ["GATEWAY", ["gateway"]],
  ["WAYPOINT", []],
]);

/** istiod matches no proxy with a longer one (Istio pilot/pkg/model/envoyfilter.go convertToEnvoyFilterWrapper). */
const longestVersion = 1024;

/** Whether the version that a patch asks for is too long for istiod to compare it with that of any proxy. */
export const asksForNoVersion = ({ match }: Patch): boolean =>
  new TextEncoder().encode(match?.proxy?.proxyVersion ?? "").length > longestVersion;

/** Whether a patch asks for a context that no proxy has. Extension configurations are sent in every context (envoyfilter/extension_configuration_patch.go InsertedExtensionConfigurations). */
export const isInNoContext = ({ applyTo, match }: Patch): boolean =>
  applyTo !== "EXTENSION_CONFIG" && match?.context === "WAYPOINT";

/** The types of the proxies that a patch can be for; undefined: all. */
function typesOf(patch: Patch): readonly ProxyType[] | undefined {
  if (asksForNoVersion(patch)) return [];
  return patch.applyTo === "EXTENSION_CONFIG" ? undefined : typesOfContext.get(patch.match?.context ?? "");
}

/**
 * Whether a patch asks for something of a proxy that its objects do not show: its version, or metadata beside its namespace (Istio
 * pilot/pkg/model/envoyfilter.go proxyMatch).
 */
function asksForUnknown({ match }: Patch): boolean {
  const { proxyVersion = "", metadata = {} } = match?.proxy ?? {};
  return proxyVersion !== "" || Object.keys(metadata).some((key) => key !== "NAMESPACE");
}

const known = new WeakMap<EnvoyFilter, ProxyScope>();

/** The proxies that an EnvoyFilter patches: those that it selects or targets and that have the context of one of its patches. */
export function scopeOfEnvoyFilter(filter: EnvoyFilter): ProxyScope {
  let found = known.get(filter);
  if (found === undefined) known.set(filter, (found = scopeOfPatches(filter, filter.spec.configPatches)));
  return found;
}

const knownSure = new WeakMap<EnvoyFilter, ProxyScope>();

/** The same of the patches that ask for nothing unknown of a proxy. */
export function sureScopeOfEnvoyFilter(filter: EnvoyFilter): ProxyScope {
  let found = knownSure.get(filter);
  if (found === undefined) {
    const sure = filter.spec.configPatches.filter((patch) => !asksForUnknown(patch));
    knownSure.set(filter, (found = scopeOfPatches(filter, sure)));
  }
  return found;
}

/** The same of some patches of an EnvoyFilter. */
export function scopeOfPatches({ metadata, spec }: EnvoyFilter, patches: readonly Patch[]): ProxyScope {
  const scope = scopeIn(metadata.namespace, spec.workloadSelector?.labels, spec.targetRefs);
  const types = new Set<ProxyType>();
  for (const patch of patches) {
    const ofPatch = typesOf(patch);
    if (ofPatch === undefined) return scope;
    for (const type of ofPatch) types.add(type);
  }
  return { ...scope, types: [...types].sort() };
}

/**
 * Whether some patch can be for proxies of a namespace: proxies tell theirs with their metadata. Targets can be waypoints of other
 * namespaces that serve this one, and are not compared.
 */
export const asksForProxiesOf = ({ spec }: EnvoyFilter, namespace: string): boolean =>
  spec.targetRefs.length > 0 ||
  spec.configPatches.some((patch) => [undefined, namespace].includes(patch.match?.proxy?.metadata["NAMESPACE"]));
