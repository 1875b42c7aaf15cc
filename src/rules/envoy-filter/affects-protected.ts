import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import {
  asksForProxiesOf,
  type Patch,
  scopeOfEnvoyFilter as scopeOf,
  scopeOfPatches,
  sureScopeOfEnvoyFilter,
} from "../../mesh/authorization/envoy-filter-scope.ts";
import {
  changedObjects,
  type NewlySelected,
  newlySelected,
  reachOfChange,
} from "../../mesh/authorization/changed-attachments.ts";
import { namespacesInForce, proxiesFor, possibleReach } from "../../mesh/authorization/proxy-attachments.ts";
import { EffectScopes, type ProxyScope, proxyTypeOf } from "../../mesh/authorization/proxy-scope.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { leaving, leftBehind, readsMoves } from "../../mesh/waypoints/moves.ts";
import { attachedElsewhere, proxiesServing, waypointsServing } from "../../mesh/waypoints/waypoint-attachments.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type EnvoyFilter = ObjectOf<"EnvoyFilter">;

/** A namespace and its own EnvoyFilters with patches. */
const envoyFiltersInNamespace = relation(
  "envoyFiltersInNamespace",
  namespaceByName,
  index("EnvoyFilter", (filter, settings) =>
    isServed(filter, settings) && filter.spec.configPatches.length > 0 ? [filter.metadata.namespace] : [],
  ),
);

/** A namespace's own EnvoyFilters with patches. */
const envoyFiltersIn = fact(
  "envoyFiltersIn",
  "Namespace",
  [envoyFiltersInNamespace],
  (namespace, mesh): readonly EnvoyFilter[] => mesh.related(envoyFiltersInNamespace, namespace),
);

const reads = [
  envoyFiltersIn,
  readers,
  rootOfNamespace,
  proxiesServing,
  waypointsServing,
  workloadsOfNamespace,
  ...readsMoves,
] as const;
type View = MeshView<(typeof reads)[number]>;
interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}

/**
 * The filters that apply in a namespace: its own and those of the root namespace that a control plane of its proxies reads
 * (Istio pilot/pkg/model/push_context.go EnvoyFilters).
 */
function levelsOf(namespace: Namespace, mesh: View): readonly (readonly EnvoyFilter[])[] {
  const found = mesh.get(readers, namespace);
  const [own = [], root] = namespacesInForce(namespace, mesh).map((one) => mesh.get(envoyFiltersIn, one));
  return root === undefined ? [found.ownOfProxies(own)] : [found.ownOfProxies(own), found.meshWideOfProxies(root)];
}

type Lists = readonly (readonly EnvoyFilter[])[];

/** The same on both sides of a change, with those of the waypoints in other namespaces that serve it. */
function listsOf(before: Side, after: Side): readonly [before: Lists, after: Lists] {
  const [was, is] = attachedElsewhere<EnvoyFilter, typeof envoyFiltersIn>([before, after], envoyFiltersIn, scopeOf);
  const [old, now] = [before, after].map(({ object, mesh }) => levelsOf(object, mesh));
  return [
    [...(old ?? []), was],
    [...(now ?? []), is],
  ];
}

export const envoyFilterAffectsProtected = defineRule({
  id: "envoy-filter-affects-protected",
  subject: "Namespace",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary:
    "A new or changed EnvoyFilter patches the proxies of a namespace, a changed label makes an old one apply, or one that checked requests no longer does.",
  why: "An EnvoyFilter rewrites what istiod generates (Istio pilot/pkg/networking/core/envoyfilter): it can remove mTLS, authorization and routes, and Istio reports nothing. One without a workloadSelector in the root namespace patches the sidecars and gateways of the whole mesh, and no waypoint. One that targets a waypoint patches what all namespaces use that it serves, and one in the root namespace that targets the class istio-waypoint does so at all waypoints. One that targets a Service, a ServiceEntry or another class patches nothing (pilot/pkg/model/push_context.go getMatchedEnvoyFilters, pilot/pkg/model/policyattachment.go ShouldAttachPolicy). Patches of the context GATEWAY are for gateways alone, those of a sidecar for sidecars and waypoints, and those of the context WAYPOINT for none (pilot/pkg/networking/core/listener_builder.go patchListeners). A patch that asks for a version or for metadata is for the proxies that have them (pilot/pkg/model/envoyfilter.go proxyMatch).",
  fix: "Ask the owner of the namespace to review the patches. If the filter is for other workloads, set their workloadSelector. Most use cases have their own API: Telemetry, AuthorizationPolicy, VirtualService, WasmPlugin.",
  incident: {
    symptoms: ["foreign-code"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Whatever the patches do: from removed authorization to proxies that refuse their configuration. `istioctl proxy-status` and the configuration of one proxy before and after show it.",
    wayOut: "Delete the EnvoyFilter: istiod sends the proxies their configuration without it within seconds.",
    silentWhen:
      "The filter already patched the same proxies in the same way, targets what patches nothing, or has only patches for a context, or for the metadata `NAMESPACE`, that no proxy of the namespace has; or only ambient workloads are in the namespace, whose ztunnel no EnvoyFilter patches.",
    page: "https://istio.io/latest/docs/reference/config/networking/envoy-filter/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const lists = listsOf(before, after);
    yield* changedPatches(after, lists);
    for (const { workload, object: filter } of newlyPatched([before, after], lists))
      yield {
        at: [],
        message: `The new labels of ${idOf(workload)} make ${idOf(filter)} patch its proxy, which can change its mTLS, authorization and routes`,
        related: [filter],
        ...(isForType(sureScopeOfEnvoyFilter(filter), workload) ? {} : { onlyWarns: unknownProxies }),
      };
    yield* removedChecks(before, lists);
    yield* checksLeft(before, after);
    const [old, now] = lists;
    for (const { workload, object: filter } of newlyPatched([after, before], [now, old]))
      for (const [check, scope] of checksOf(filter))
        if (isForType(scope, workload)) yield checkLost(check, filter, workload);
  },
});

function* changedPatches(
  {
    object: {
      metadata: { name },
    },
    object,
    mesh,
  }: Side,
  [old, now]: readonly [before: Lists, after: Lists],
): Iterable<Problem> {
  const changed = now.flatMap((filters, level) => changedObjects(old[level] ?? [], filters));
  for (const change of changed) {
    const { object: filter, was } = change;
    const proxies = mesh.get(proxiesServing, object);
    const reach = asksForProxiesOf(filter, name) ? reachOfChange(proxies, change, scopeOf) : undefined;
    if (reach === undefined) continue;
    const isSure = reachOfChange(proxies, change, sureScopeOfEnvoyFilter) === "sure";
    yield {
      at: [],
      message: `${idOf(filter)} ${was === undefined ? "patches" : "changes its patches of"} ${proxiesFor(filter, name, mesh.settings)}, which can change their mTLS, authorization and routes`,
      key: idOf(filter),
      related: [filter],
      ...(isSure ? {} : { onlyWarns: reach === "sure" ? unknownProxies : possibleReach }),
    };
  }
}

const checkLost = (check: string, filter: EnvoyFilter, workload: Workload): Problem => ({
  at: [],
  message: `With its old labels, ${idOf(filter)} made the proxy of ${idOf(workload)} check requests with ${check}, and no longer does`,
  related: [filter],
  onlyWarns: mayBeMeant,
});

/** Those that patch the proxy of a workload because of its new labels alone. */
const newlyPatched = (
  sides: readonly [before: Side, after: Side],
  lists: readonly [before: Lists, after: Lists],
): readonly NewlySelected<EnvoyFilter>[] =>
  [...newlySelected(sides, lists, labelsOf)].filter(
    ({ object, workload }) =>
      isForType(scopeOf(object), workload) && asksForProxiesOf(object, workload.metadata.namespace),
  );

const isForType = ({ types }: ProxyScope, workload: Workload): boolean =>
  types?.includes(proxyTypeOf(workload)) !== false;

const unknownProxies = "its patches ask for a version or metadata of proxies, which are not known";
const mayBeMeant = "patches of others may be removed on purpose";

/** Filters that checked requests in proxies of the namespace, and that no EnvoyFilter adds to all of these any more. */
function* removedChecks(
  { object: namespace, mesh }: Side,
  [old, now]: readonly [before: Lists, after: Lists],
): Iterable<Problem> {
  const changed = old.flatMap((filters, level) => changedObjects(now[level] ?? [], filters));
  const { name } = namespace.metadata;
  const checking = changed.filter(({ object }) => checksOf(object).size > 0 && asksForProxiesOf(object, name));
  if (checking.length === 0) return;
  const left = new EffectScopes();
  for (const filter of now.flat())
    if (asksForProxiesOf(filter, name)) for (const [check, scope] of checksOf(filter)) left.add(check, scope);
  for (const { object: filter } of checking) {
    const proxies = mesh.get(proxiesServing, namespace);
    const checks = [...checksOf(filter)].flatMap(([check, scope]) => {
      const types = left.without(check, scope, proxies.isAtWaypoint(scope));
      return types.length > 0 && proxies.reachOf(filter, { ...scope, types }) !== undefined ? check : [];
    });
    if (checks.length === 0) continue;
    yield {
      at: [],
      message: `${idOf(filter)} no longer makes ${proxiesFor(filter, name, mesh.settings)} check requests with ${checks.join(" and ")}`,
      key: `no longer ${idOf(filter)}`,
      related: [filter],
      onlyWarns: mayBeMeant,
    };
  }
}

/** Filters that checked the requests that a change takes away from a waypoint. An EnvoyFilter has no Service. */
function* checksLeft(before: Side, after: Side): Iterable<Problem> {
  for (const { move, object, effects } of leftBehind<EnvoyFilter, typeof envoyFiltersIn>(before, after, {
    objectsIn: envoyFiltersIn,
    scopeOf,
    isForServices: false,
    effectsOf: (filter) =>
      [...checksOf(filter)].flatMap(([check, { types }]) => (types?.includes("waypoint") === false ? [] : check)),
  }))
    yield {
      at: [],
      message: `${leaving(move, after.object.metadata.name)}, where ${idOf(object)} checked them with ${effects.join(" and ")}`,
      key: `left ${idOf(object)}`,
      related: [object],
      onlyWarns: mayBeMeant,
    };
}

const checksKnown = new WeakMap<EnvoyFilter, ReadonlyMap<string, ProxyScope>>();

/**
 * Envoy's filters that can let only some requests pass, and that patches of this EnvoyFilter add: `ext_authz`, `lua`; with the proxies
 * that these patches are for.
 */
function checksOf(filter: EnvoyFilter): ReadonlyMap<string, ProxyScope> {
  let known = checksKnown.get(filter);
  if (known === undefined) {
    const patches = filter.spec.configPatches.flatMap((patch) =>
      checksAddedBy(patch).map((check) => ({ check, patch })),
    );
    const byCheck = Map.groupBy(patches, ({ check }) => check);
    const names = [...byCheck.keys()].sort();
    known = new Map(
      names.map((name) => [
        name,
        scopeOfPatches(
          filter,
          (byCheck.get(name) ?? []).map(({ patch }) => patch),
        ),
      ]),
    );
    checksKnown.set(filter, known);
  }
  return known;
}

const filterThatChecks =
  /\benvoy\.(?:extensions\.)?filters\.(?:http|network)\.(ext_authz|ext_proc|rbac|jwt_authn|oauth2|basic_auth|api_key_auth|csrf|lua|wasm)\b/g;

/** Code that sends no response of its own lets all requests pass, and Envoy's built-in code for metrics does so too. */
const isWithoutResponse: ReadonlyMap<string, (value: string) => boolean> = new Map([
  ["lua", (value: string) => !/:\s*respond\s*\(/.test(value)],
  ["wasm", (value: string) => value.includes("envoy.wasm.runtime.null")],
]);

function checksAddedBy({ patch }: Patch): readonly string[] {
  if (patch === undefined || patch.operation === "REMOVE") return [];
  const { value } = patch;
  return [...value.matchAll(filterThatChecks)].flatMap(([, name = ""]) =>
    isWithoutResponse.get(name)?.(value) === true ? [] : name,
  );
}

const labelsOf = ({ spec }: EnvoyFilter) => (spec.targetRefs.length === 0 ? spec.workloadSelector?.labels : undefined);
