import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { namespaceOfService } from "../../mesh/membership/services.ts";
import { isOwned, namespaceOfWorkload } from "../../mesh/membership/workloads.ts";
import { useWaypoint } from "../../mesh/objects/labels.ts";
import {
  formatWaypoint,
  type WaypointBinding,
  waypointBindingOfNamespace,
  waypointBindingOfService,
  waypointBindingOfWorkload,
  waypointTraffic,
  waypointOfNamespace,
  waypointOfService,
  waypointOfWorkload,
} from "../../mesh/waypoints/bindings.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [
  waypointOfNamespace,
  waypointOfService,
  waypointOfWorkload,
  namespaceOfService,
  namespaceOfWorkload,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const waypointNotFound = defineRule({
  id: "waypoint-not-found",
  subject: ["Namespace", "Service", "Workload"],
  reads,
  worksWithout: ["Service", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient"],
  summary: "The label `istio.io/use-waypoint` names something that takes no traffic.",
  why: "Where the waypoint is missing, not ready, for other traffic, or takes nothing from the namespace, ztunnel sends requests straight to the pods (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget): every policy and route that only a waypoint enforces is passed over, and no request fails.",
  fix: "Create the waypoint first (`istioctl waypoint apply`), wait until it is ready, then set the label; `none` opts out.",

  *check(object, mesh) {
    // What only a namespace's label says is said of the namespace.
    for (const { binding, at } of bindingsOf(object, mesh))
      if (binding?.trouble !== undefined) yield problemOf(binding, object, at);
  },
});

type Labelable = ObjectOf<"Namespace" | "Service" | "Workload">;

interface Labelled {
  readonly binding: WaypointBinding | undefined;
  readonly at: Path;
}

function bindingsOf(object: Labelable, mesh: View): readonly Labelled[] {
  const at = ["metadata", "labels", useWaypoint];
  if (object.kind === "Namespace")
    return isTerminating(object) ? [] : [{ binding: waypointBindingOfNamespace(object, mesh), at }];
  if (object.kind === "Service" && object.metadata.labels[useWaypoint] !== undefined) {
    const [namespace] = mesh.related(namespaceOfService, object);
    return [{ binding: waypointBindingOfService(object, namespace, mesh), at }];
  }
  if (object.kind === "Workload" && object.pod.labels[useWaypoint] !== undefined && !isOwned(object)) {
    const [namespace] = mesh.related(namespaceOfWorkload, object);
    return [{ binding: waypointBindingOfWorkload(object, namespace, mesh), at: [...object.podAt, ...at] }];
  }
  return [];
}

function problemOf(binding: WaypointBinding, object: AnyObject, at: Path): Problem {
  const { named, gateway } = binding;
  return {
    at,
    message: messageOf(binding, object),
    evidence: [gateway ?? absent("KubernetesGateway", named.namespace, named.name)],
    ...(binding.trouble === "not allowed" ? { fix: allowFix(binding, object) } : {}),
  };
}

const consequence = "traffic goes around it, and policies and routes for it do nothing";

function messageOf({ named, gateway, trouble }: WaypointBinding, object: AnyObject): string {
  const waypoint = `Waypoint ${formatWaypoint(named)}`;
  if (named.name === "") return `${useWaypoint} is empty and names no waypoint`;
  if (gateway === undefined) return `${waypoint} does not exist: ${consequence}`;
  if (trouble === "no waypoint")
    return `Gateway ${formatWaypoint(named)} has class ${JSON.stringify(gateway.spec.gatewayClassName)} and is no waypoint: policies and routes for one do nothing`;
  if (trouble === "going") return `${waypoint} is being deleted: soon ${consequence}`;
  if (trouble === "not ready") return `${waypoint} is not ready: until it is, ${consequence}`;
  if (trouble === "not allowed")
    return `${waypoint} takes nothing from namespace ${namespaceOf(object)}: ${consequence}`;
  const wanted = object.kind === "Namespace" ? "what is in a namespace" : `a ${object.originKind}`;
  return `${waypoint} is for ${JSON.stringify(waypointTraffic(gateway))} (istio.io/waypoint-for), not for ${wanted}: ${consequence}`;
}

const namespaceOf = ({ kind, metadata }: AnyObject): string =>
  kind === "Namespace" ? metadata.name : metadata.namespace;

const allowFix = ({ named }: WaypointBinding, object: AnyObject): string =>
  `Let the HBONE listener of Gateway ${formatWaypoint(named)} take routes from namespace ${namespaceOf(object)}: \`allowedRoutes.namespaces\` with \`from: All\`, or \`from: Selector\` and the namespace's labels.`;
