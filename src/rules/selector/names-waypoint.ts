import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isEastWest, isIstiosWaypoint } from "../../mesh/membership/gateways.ts";
import { gatewayNameLabel } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type Index, type MeshView, relation } from "../../view/view.ts";

const kinds = [
  "AuthorizationPolicy",
  "RequestAuthentication",
  "Telemetry",
  "WasmPlugin",
  "TrafficExtension",
  "EnvoyFilter",
] as const satisfies readonly Kind[];
type Attachable = ObjectOf<(typeof kinds)[number]>;

const labelsOf = (object: Attachable): Readonly<Record<string, string>> | undefined =>
  object.kind === "EnvoyFilter" ? object.spec.workloadSelector?.labels : object.spec.selector?.matchLabels;

const hasTarget = ({ spec }: Attachable): boolean =>
  spec.targetRefs.length > 0 || ("targetRef" in spec && spec.targetRef !== undefined);

/**
 * The Gateway whose pods alone the object selects: the label that istiod gives them names it. In the root namespace, an object selects
 * pods of Gateways of this name in every namespace.
 */
function selectedGateway(object: Attachable, settings: MeshSettings): string | undefined {
  const isForAll = object.metadata.namespace === settings.rootNamespace;
  return isForAll || hasTarget(object) || !isServed(object, settings)
    ? undefined
    : labelsOf(object)?.[gatewayNameLabel];
}

const bySelectedGateway = <K extends (typeof kinds)[number]>(kind: K): Index<K> =>
  index(kind, (object, settings) => {
    const name = selectedGateway(object as Attachable, settings);
    return name === undefined ? [] : [`${object.metadata.namespace}/${name}`];
  });

/**
 * Gateways whose proxies are waypoints: east-west gateways are, too (Istio pilot/pkg/config/kube/gatewaycommon/classinfo.go, where both have
 * the template of a waypoint).
 */
const waypointByName = index("KubernetesGateway", (gateway, settings) =>
  isIstiosWaypoint(gateway, settings) || isEastWest(gateway, settings)
    ? [`${gateway.metadata.namespace}/${gateway.metadata.name}`]
    : [],
);

/** An AuthorizationPolicy that selects the pods of a waypoint, and the waypoint. */
const waypointSelectedByAuthorizationPolicy = relation(
  "waypointSelectedByAuthorizationPolicy",
  bySelectedGateway("AuthorizationPolicy"),
  waypointByName,
);
/** A RequestAuthentication that selects the pods of a waypoint, and the waypoint. */
const waypointSelectedByRequestAuthentication = relation(
  "waypointSelectedByRequestAuthentication",
  bySelectedGateway("RequestAuthentication"),
  waypointByName,
);
/** A Telemetry that selects the pods of a waypoint, and the waypoint. */
const waypointSelectedByTelemetry = relation(
  "waypointSelectedByTelemetry",
  bySelectedGateway("Telemetry"),
  waypointByName,
);
/** A WasmPlugin that selects the pods of a waypoint, and the waypoint. */
const waypointSelectedByWasmPlugin = relation(
  "waypointSelectedByWasmPlugin",
  bySelectedGateway("WasmPlugin"),
  waypointByName,
);
/** A TrafficExtension that selects the pods of a waypoint, and the waypoint. */
const waypointSelectedByTrafficExtension = relation(
  "waypointSelectedByTrafficExtension",
  bySelectedGateway("TrafficExtension"),
  waypointByName,
);
/** An EnvoyFilter that selects the pods of a waypoint, and the waypoint. */
const waypointSelectedByEnvoyFilter = relation(
  "waypointSelectedByEnvoyFilter",
  bySelectedGateway("EnvoyFilter"),
  waypointByName,
);

const reads = [
  waypointSelectedByAuthorizationPolicy,
  waypointSelectedByRequestAuthentication,
  waypointSelectedByTelemetry,
  waypointSelectedByWasmPlugin,
  waypointSelectedByTrafficExtension,
  waypointSelectedByEnvoyFilter,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const selectorNamesWaypoint = defineRule({
  id: "selector-names-waypoint",
  subject: kinds,
  reads,
  worksWithout: [...kinds, "KubernetesGateway"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["ambient"],
  summary:
    "An object selects the pods of a waypoint by their labels, but waypoints ignore selectors, so it has no effect.",
  why: "A waypoint takes only objects that name it, its class or what it serves in targetRefs; istiod ignores selectors there, while gateways for ingress obey them (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). `istioctl analyze` warns of both (IST0166).",
  fix: "Replace the selector by targetRefs: the Gateway, with group gateway.networking.k8s.io, or the Services for which the object is.",
  incident: {
    symptoms: ["no-effect", "open-access"],
    proxies: ["waypoint"],
    seen: "What the object should deny, check, log or change at the waypoint passes as if it was not there.",
    wayOut:
      "Replace the selector by targetRefs. Before you do so for a policy that denies, look with `meshward explain --change` what it will deny.",
    silentWhen: "The object is in the root namespace, or the Gateway is of another class.",
    page: "https://istio.io/latest/docs/ambient/usage/l7-features/",
  },

  *check(object, mesh) {
    for (const gateway of waypointsOf(object, mesh))
      yield {
        at: object.kind === "EnvoyFilter" ? ["spec", "workloadSelector"] : ["spec", "selector"],
        message: `Waypoints ignore selectors, so the ${object.kind} has no effect at ${idOf(gateway)}`,
        fix: `Replace the selector by targetRefs with kind Gateway, group gateway.networking.k8s.io and name ${gateway.metadata.name}, or with the Services for which the ${object.kind} is.`,
        evidence: [gateway],
      };
  },
});

function waypointsOf(object: Attachable, mesh: View): readonly ObjectOf<"KubernetesGateway">[] {
  switch (object.kind) {
    case "AuthorizationPolicy":
      return mesh.related(waypointSelectedByAuthorizationPolicy, object);
    case "RequestAuthentication":
      return mesh.related(waypointSelectedByRequestAuthentication, object);
    case "Telemetry":
      return mesh.related(waypointSelectedByTelemetry, object);
    case "WasmPlugin":
      return mesh.related(waypointSelectedByWasmPlugin, object);
    case "TrafficExtension":
      return mesh.related(waypointSelectedByTrafficExtension, object);
    default:
      return mesh.related(waypointSelectedByEnvoyFilter, object);
  }
}
