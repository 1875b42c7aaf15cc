import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { gatewaysOfNamespace, isIstiosWaypoint, labelsOfGatewayPods } from "../../mesh/membership/gateways.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { formatLabels, selects } from "../../mesh/objects/selectors.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type Index, type MeshView, relation } from "../../view/view.ts";

const kinds = [
  "RequestAuthentication",
  "EnvoyFilter",
  "WasmPlugin",
  "TrafficExtension",
  "Telemetry",
  "Sidecar",
] as const satisfies readonly Kind[];
type Scoped = ObjectOf<(typeof kinds)[number]>;

const labelsOf = (object: Scoped): Labels =>
  (object.kind === "EnvoyFilter" || object.kind === "Sidecar"
    ? object.spec.workloadSelector?.labels
    : object.spec.selector?.matchLabels) ?? {};

/**
 * What an object selects in its own namespace; undefined: it is for other namespaces too, or for waypoints. Without a selector, a
 * waypoint of the namespace has the Telemetry as well, and nothing else (Istio pilot/pkg/model/telemetry.go applicableTelemetries,
 * pilot/pkg/model/policyattachment.go ShouldAttachPolicy).
 */
function selected(object: Scoped, settings: MeshSettings): Labels | undefined {
  if (!isServed(object, settings) || object.metadata.namespace === settings.rootNamespace) return undefined;
  if (object.kind !== "Sidecar" && (object.spec.targetRefs.length > 0 || hasTarget(object))) return undefined;
  const labels = labelsOf(object);
  return object.kind === "Telemetry" && Object.keys(labels).length === 0 ? undefined : labels;
}

const hasTarget = ({ spec }: Scoped): boolean => "targetRef" in spec && spec.targetRef !== undefined;

const bySelectedNamespace = <K extends (typeof kinds)[number]>(kind: K): Index<K> =>
  index(kind, (one, settings) => {
    const object = one as Scoped;
    return selected(object, settings) === undefined ? [] : [object.metadata.namespace];
  });

/** A RequestAuthentication for the pods of its namespace, and the namespace. */
const namespaceOfOwnRequestAuthentication = relation(
  "namespaceOfOwnRequestAuthentication",
  bySelectedNamespace("RequestAuthentication"),
  namespaceByName,
);
/** An EnvoyFilter for the pods of its namespace, and the namespace. */
const namespaceOfOwnEnvoyFilter = relation(
  "namespaceOfOwnEnvoyFilter",
  bySelectedNamespace("EnvoyFilter"),
  namespaceByName,
);
/** A WasmPlugin for the pods of its namespace, and the namespace. */
const namespaceOfOwnWasmPlugin = relation(
  "namespaceOfOwnWasmPlugin",
  bySelectedNamespace("WasmPlugin"),
  namespaceByName,
);
/** A TrafficExtension for the pods of its namespace, and the namespace. */
const namespaceOfOwnTrafficExtension = relation(
  "namespaceOfOwnTrafficExtension",
  bySelectedNamespace("TrafficExtension"),
  namespaceByName,
);
/** A Telemetry for some pods of its namespace, and the namespace. */
const namespaceOfOwnTelemetry = relation("namespaceOfOwnTelemetry", bySelectedNamespace("Telemetry"), namespaceByName);
/** A Sidecar for the pods of its namespace, and the namespace. */
const namespaceOfOwnSidecar = relation("namespaceOfOwnSidecar", bySelectedNamespace("Sidecar"), namespaceByName);

const reads = [
  namespaceOfOwnRequestAuthentication,
  namespaceOfOwnEnvoyFilter,
  namespaceOfOwnWasmPlugin,
  namespaceOfOwnTrafficExtension,
  namespaceOfOwnTelemetry,
  namespaceOfOwnSidecar,
  captured,
  gatewaysOfNamespace,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const selectorReachesOnlyZtunnel = defineRule({
  id: "selector-reaches-only-ztunnel",
  subject: kinds,
  reads,
  worksWithout: [...kinds, "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  // Sidecars of pods that run may be there until these are recreated.
  stage: "trial",
  tags: ["ambient"],
  summary: "All workloads that an object selects are captured by ztunnel, which does not read objects of its kind.",
  why: "What istiod sends to ztunnel is workloads, Services, AuthorizationPolicies and PeerAuthentications alone (Istio pilot/pkg/serviceregistry/ambient). Tokens, filters, plugins, telemetry and the scope of a sidecar need an Envoy. A waypoint is one, but it has only what names it, or its Services, in targetRefs (pilot/pkg/model/policyattachment.go ShouldAttachPolicy).",
  fix: "Create a waypoint, and attach the object to it or to a Service with `targetRefs` instead of the selector.",
  incident: {
    symptoms: ["no-effect", "open-access"],
    proxies: ["ztunnel"],
    seen: "Requests with a token that is not valid are answered; filters, plugins and telemetry do nothing. The object has worked with sidecars and stopped with ambient mode.",
    wayOut:
      "Attach the object to the waypoint with targetRefs, or take the workloads back to sidecars until that is done.",
    silentWhen:
      "Some selected workload has a sidecar, is a gateway or is not known to be captured; the object is in the root namespace; the namespace has a Gateway of class istio that is selected; or it is a Telemetry without a selector, which waypoints of the namespace have too.",
    page: "https://istio.io/latest/docs/ambient/usage/l7-features/",
  },

  *check(object, mesh) {
    const labels = selected(object, mesh.settings);
    const [namespace] = namespacesOf(object, mesh);
    if (labels === undefined || namespace === undefined || isTerminating(namespace)) return;
    if (!mesh.get(captured, namespace).isOnlyAmbient(labels) || isForGateway(object, namespace, mesh)) return;
    const { name } = namespace.metadata;
    const which = Object.keys(labels).length === 0 ? "all workloads" : `the workloads with ${formatLabels(labels)}`;
    yield {
      at: placeOf(object),
      message: `ztunnel captures ${which} in "${name}", and reads no ${object.kind}: ${effects[object.kind]}`,
      ...(object.kind === "Sidecar" ? { fix: "Remove the Sidecar: ambient clients have no scope of their own." } : {}),
      evidence: [namespace, absent("Workload", name)],
      ...(mesh.knowsAll("Workload") ? {} : { guess: `all workloads of namespace ${name}`, guessOf: "partial" }),
    };
  },
});

/** Whether an object selects the pods of a Gateway that is no waypoint, by the labels that istiod gives them. Files do not have the pods. */
const isForGateway = (object: Scoped, namespace: ObjectOf<"Namespace">, mesh: View): boolean =>
  object.kind !== "Sidecar" &&
  mesh
    .related(gatewaysOfNamespace, namespace)
    .some(
      (gateway) =>
        !isIstiosWaypoint(gateway, mesh.settings) &&
        selects(labelsOf(object), labelsOfGatewayPods(gateway, mesh.settings)),
    );

const effects = {
  RequestAuthentication: "it validates no token",
  EnvoyFilter: "it patches no proxy",
  WasmPlugin: "it runs in no proxy",
  TrafficExtension: "it runs in no proxy",
  Telemetry: "it changes no telemetry",
  Sidecar: "it limits nothing",
} as const;

function placeOf(object: Scoped): readonly string[] {
  if (Object.keys(labelsOf(object)).length === 0) return ["spec"];
  return ["spec", object.kind === "EnvoyFilter" || object.kind === "Sidecar" ? "workloadSelector" : "selector"];
}

function namespacesOf(object: Scoped, mesh: View): readonly ObjectOf<"Namespace">[] {
  switch (object.kind) {
    case "RequestAuthentication":
      return mesh.related(namespaceOfOwnRequestAuthentication, object);
    case "EnvoyFilter":
      return mesh.related(namespaceOfOwnEnvoyFilter, object);
    case "WasmPlugin":
      return mesh.related(namespaceOfOwnWasmPlugin, object);
    case "TrafficExtension":
      return mesh.related(namespaceOfOwnTrafficExtension, object);
    case "Telemetry":
      return mesh.related(namespaceOfOwnTelemetry, object);
    default:
      return mesh.related(namespaceOfOwnSidecar, object);
  }
}
