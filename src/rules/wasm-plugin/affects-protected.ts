import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { changedObjects, newlySelected, reachOfChange } from "../../mesh/authorization/changed-attachments.ts";
import { namespacesInForce, proxiesFor, possibleReach } from "../../mesh/authorization/proxy-attachments.ts";
import { EffectScopes, policyScope, type ProxyScope } from "../../mesh/authorization/proxy-scope.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { leaving, leftBehind, readsMoves } from "../../mesh/waypoints/moves.ts";
import { attachedElsewhere, proxiesServing, waypointsServing } from "../../mesh/waypoints/waypoint-attachments.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type Extension = ObjectOf<"WasmPlugin"> | ObjectOf<"TrafficExtension">;

/** A namespace and its own WasmPlugins. */
const wasmPluginsInNamespace = relation(
  "wasmPluginsInNamespace",
  namespaceByName,
  index("WasmPlugin", (plugin, settings) => (isServed(plugin, settings) ? [plugin.metadata.namespace] : [])),
);
/** A namespace and its own TrafficExtensions. */
const trafficExtensionsInNamespace = relation(
  "trafficExtensionsInNamespace",
  namespaceByName,
  index("TrafficExtension", (extension, settings) =>
    isServed(extension, settings) ? [extension.metadata.namespace] : [],
  ),
);

/** A namespace's own WasmPlugins. */
const wasmPluginsIn = fact(
  "wasmPluginsIn",
  "Namespace",
  [wasmPluginsInNamespace],
  (namespace, mesh): readonly Extension[] => mesh.related(wasmPluginsInNamespace, namespace),
);
/** A namespace's own TrafficExtensions. */
const trafficExtensionsIn = fact(
  "trafficExtensionsIn",
  "Namespace",
  [trafficExtensionsInNamespace],
  (namespace, mesh): readonly Extension[] => mesh.related(trafficExtensionsInNamespace, namespace),
);

const reads = [
  wasmPluginsIn,
  trafficExtensionsIn,
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

type Lists = readonly (readonly Extension[])[];

/**
 * The extensions that apply in a namespace before and after a change: its own, those of the root namespace, and those of the
 * waypoints in other namespaces that serve it (Istio pilot/pkg/model/push_context.go TrafficExtensionsByListenerInfo).
 */
function listsOf(before: Side, after: Side): readonly [before: Lists, after: Lists] {
  const [old, now] = [before, after].map(({ object, mesh }) =>
    namespacesInForce(object, mesh).flatMap((one) => [
      mesh.get(wasmPluginsIn, one),
      mesh.get(trafficExtensionsIn, one),
    ]),
  );
  const elsewhere = [wasmPluginsIn, trafficExtensionsIn].map((objectsIn) =>
    attachedElsewhere<Extension, typeof objectsIn>([before, after], objectsIn, scopeOf),
  );
  return [
    [...(old ?? []), ...elsewhere.map(([was]) => was)],
    [...(now ?? []), ...elsewhere.map(([, is]) => is)],
  ];
}

export const wasmPluginAffectsProtected = defineRule({
  id: "wasm-plugin-affects-protected",
  subject: "Namespace",
  reads,
  worksWithout: [
    "KubernetesGateway",
    "Service",
    "ServiceEntry",
    "TrafficExtension",
    "WasmPlugin",
    "Workload",
    "WorkloadEntry",
  ],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A new or changed WasmPlugin or TrafficExtension runs code in the proxies of a namespace, or one that checked requests no longer does.",
  why: "A WasmPlugin and a TrafficExtension add a filter with code of their author to the proxies that they select (Istio pilot/pkg/model/extensions.go). It sees every request with its headers and bodies, can answer requests itself, and can run before authentication and authorization (`phase`). Without a selector in the root namespace, it runs at all sidecars and gateways of the mesh, and at no waypoint. One that targets a waypoint runs there for the Services of all namespaces that the waypoint serves, and one in the root namespace that targets the class istio-waypoint at all waypoints (pilot/pkg/model/policyattachment.go ShouldAttachPolicy).",
  fix: "Ask the owner of the namespace to review the code, and pin it with `sha256`. If it is for other workloads, set their selector.",
  incident: {
    symptoms: ["foreign-code"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Whatever the code does: answers, headers or times that nobody configured. If it cannot be loaded, requests fail or pass unfiltered, as `failStrategy` says.",
    wayOut: "Delete the WasmPlugin or the TrafficExtension: proxies drop the filter within seconds.",
    silentWhen:
      "The namespace has only ambient workloads and no waypoint, or the same code ran in these proxies before.",
    page: "https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const { name } = after.object.metadata;
    const [old, now] = listsOf(before, after);
    const changed = now.flatMap((extensions, i) => changedObjects(old[i] ?? [], extensions));
    for (const change of changed) {
      const { object: extension, was } = change;
      const reach = reachOfChange(after.mesh.get(proxiesServing, after.object), change, scopeOf);
      if (reach === undefined) continue;
      yield {
        at: [],
        message: `${idOf(extension)} ${was === undefined ? "runs code in" : "changes the code that it runs in"} ${proxiesFor(extension, name, after.mesh.settings)}, which can read and change all requests`,
        key: idOf(extension),
        related: [extension],
        ...(reach === "sure" ? {} : { onlyWarns: possibleReach }),
      };
    }
    yield* removedChecks(before, [old, now]);
    yield* checksLeft(before, after);
    for (const { workload, object: extension } of newlySelected([before, after], [old, now], labelsOf))
      yield {
        at: [],
        message: `The new labels of ${idOf(workload)} make ${idOf(extension)} run code in its proxy, which can read and change all requests`,
        related: [extension],
      };
  },
});

/** What ran in a phase of authentication or authorization, and no longer runs there. */
function* removedChecks(
  { object: namespace, mesh }: Side,
  [old, now]: readonly [before: Lists, after: Lists],
): Iterable<Problem> {
  const removed = old.flatMap((extensions, i) => changedObjects(now[i] ?? [], extensions));
  for (const { object: extension, was: left } of removed) {
    const scope = scopeOf(extension);
    const proxies = mesh.get(proxiesServing, namespace);
    const isStaying = left !== undefined && checksRequests(left) && !isMoved(left, scope, proxies.isAtWaypoint(scope));
    if (!checksRequests(extension) || isStaying || proxies.reachOf(extension, scope) === undefined) continue;
    yield {
      at: [],
      message: `${idOf(extension)} no longer checks requests in ${proxiesFor(extension, namespace.metadata.name, mesh.settings)}: it ran in a phase of authentication or authorization`,
      related: [extension],
      onlyWarns: "code of others may be removed on purpose",
    };
  }
}

/** What checked the requests that a change takes away from a waypoint. */
function* checksLeft(before: Side, after: Side): Iterable<Problem> {
  for (const objectsIn of [wasmPluginsIn, trafficExtensionsIn])
    for (const { move, object } of leftBehind<Extension, typeof objectsIn>(before, after, {
      objectsIn,
      scopeOf,
      isForServices: true,
      effectsOf: (one) => (checksRequests(one) ? [codeOf(one)] : []),
    }))
      yield {
        at: [],
        message: `${leaving(move, after.object.metadata.name)}, where ${idOf(object)} checked them in a phase of authentication or authorization`,
        key: `left ${idOf(object)}`,
        related: [object],
        onlyWarns: "code of others may be removed on purpose",
      };
}

/** What an extension runs, wherever it is attached. */
const codeOf = ({ spec }: Extension): string =>
  JSON.stringify({ ...spec, selector: undefined, targetRef: undefined, targetRefs: undefined });

const isMoved = (left: Extension, from: ProxyScope, isAtWaypoint: boolean): boolean => {
  const scopes = new EffectScopes();
  scopes.add(left.kind, scopeOf(left));
  return !scopes.has(left.kind, from, isAtWaypoint);
};

const checksRequests = ({ spec }: Extension): boolean => /^"?AUTH[NZ]"?$/.test(spec.phase);

const scopeOf = ({ metadata, spec }: Extension): ProxyScope => policyScope(spec, metadata.namespace);
const labelsOf = (extension: Extension) =>
  scopeOf(extension).targetRefs.length === 0 ? extension.spec.selector?.matchLabels : undefined;
