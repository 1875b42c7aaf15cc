import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { AnyObject, ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { waypointTraffic } from "../../mesh/membership/gateways.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isExternalName, isHeadless } from "../../mesh/membership/services.ts";
import { labelsOfWorkloadEntry } from "../../mesh/membership/workload-entries.ts";
import { isOwned } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { useWaypoint } from "../../mesh/objects/labels.ts";
import {
  formatWaypoint,
  isWithoutAddress,
  type WaypointBinding,
  waypointBinding,
  waypointBindingOfService,
  waypointBindingOfServiceEntry,
  waypointBindingOfWorkload,
  waypointBindingOfWorkloadEntry,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
  waypointOfWorkloadEntry,
} from "../../mesh/waypoints/bindings.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A Service with a waypoint label of its own, and its namespace. */
const namespaceOfLabelledService = relation(
  "namespaceOfLabelledService",
  index("Service", ({ metadata }) => (metadata.labels[useWaypoint] === undefined ? [] : [metadata.namespace])),
  namespaceByName,
);
/** A workload with a waypoint label of its own, and its namespace. */
const namespaceOfLabelledWorkload = relation(
  "namespaceOfLabelledWorkload",
  index("Workload", (workload) =>
    workload.pod.labels[useWaypoint] === undefined || isOwned(workload) ? [] : [workload.metadata.namespace],
  ),
  namespaceByName,
);
/** A ServiceEntry with a waypoint label of its own, and its namespace. */
const namespaceOfLabelledServiceEntry = relation(
  "namespaceOfLabelledServiceEntry",
  index("ServiceEntry", ({ metadata }) => (metadata.labels[useWaypoint] === undefined ? [] : [metadata.namespace])),
  namespaceByName,
);
/** A WorkloadEntry with a waypoint label of its own, and its namespace. */
const namespaceOfLabelledWorkloadEntry = relation(
  "namespaceOfLabelledWorkloadEntry",
  index("WorkloadEntry", (entry) =>
    labelsOfWorkloadEntry(entry)[useWaypoint] === undefined ? [] : [entry.metadata.namespace],
  ),
  namespaceByName,
);

const reads = [
  waypointBinding,
  waypointOfService,
  waypointOfServiceEntry,
  waypointOfWorkload,
  waypointOfWorkloadEntry,
  namespaceOfLabelledService,
  namespaceOfLabelledServiceEntry,
  namespaceOfLabelledWorkload,
  namespaceOfLabelledWorkloadEntry,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const waypointNotFound = defineRule({
  id: "waypoint-not-found",
  subject: ["Namespace", "Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  reads,
  worksWithout: ["Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient"],
  summary: "The label `istio.io/use-waypoint` names a waypoint that receives no traffic.",
  why: "If the waypoint does not exist, is not ready, is for other traffic, or does not accept the namespace, ztunnel sends requests directly to the pods (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget). Policies and routes that only a waypoint enforces are skipped, and no request fails. ztunnel and waypoints do not know a Service with an external name at all (pilot/pkg/serviceregistry/ambient/services.go serviceServiceBuilder). A headless Service has no address of its own that clients connect to (pilot/pkg/xds/endpoints/endpoint_builder.go findServiceWaypoint), although its status says that a waypoint is bound to it.",
  fix: "Create the waypoint first (`istioctl waypoint apply`), wait until it is ready, and then set the label.",
  incident: {
    symptoms: ["waypoint-bypassed"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Requests are answered as if there were no waypoint: nothing is denied by its policies, and no route applies.",
    wayOut: "Create the waypoint, or put the previous label back.",
    silentWhen:
      "The label is `none`, the Gateways are not known, or the label names a canary, without which the waypoint gets all of the traffic.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(object, mesh) {
    const without = object.kind === "Service" || object.kind === "ServiceEntry" ? problemOfNone(object) : undefined;
    if (without !== undefined) yield without;
    // Problems that come from the label of a namespace are reported for the namespace.
    const labelled = labelledIn(object, mesh);
    if (labelled?.binding?.trouble !== undefined)
      yield problemOf(labelled.binding, object, { at: labelled.at, settings: mesh.settings });
  },
});

type Labelable = ObjectOf<"Namespace" | "Service" | "ServiceEntry" | "Workload" | "WorkloadEntry">;

const labelAt: Path = ["metadata", "labels", useWaypoint];

/** A Service or a ServiceEntry that has no waypoint, whatever its label names. */
function problemOfNone(object: ObjectOf<"Service" | "ServiceEntry">): Problem | undefined {
  if ((object.metadata.labels[useWaypoint] ?? "none") === "none") return undefined;
  if (object.kind === "ServiceEntry") return isWithoutAddress(object) ? ofNoAddress : undefined;
  if (isExternalName(object)) return ofExternalName;
  return isHeadless(object) ? ofHeadless : undefined;
}

const ofNoAddress: Problem = {
  at: labelAt,
  message:
    "A ServiceEntry without an address has no waypoint, because ztunnel does not know what is sent to its hosts: the label has no effect",
  fix: 'Write `addresses`, or let istiod give the hosts some: with a resolution other than NONE, and without the label `networking.istio.io/enable-autoallocate-ip: "false"`. Or remove the label.',
};

const ofExternalName: Problem = {
  at: labelAt,
  message: "A Service with an external name has no waypoint: the label has no effect",
  fix: "Remove the label. A ServiceEntry for the external host can have a waypoint.",
};

const ofHeadless: Problem = {
  at: labelAt,
  message:
    "A headless Service has no waypoint, because clients connect to the addresses of its pods: the label has no effect",
  fix: "Remove the label. For a waypoint for Services, let clients use another Service of these pods, one with a cluster IP; a waypoint for workloads is named by labels of the pods.",
};

interface Labelled {
  readonly binding: WaypointBinding | undefined;
  readonly at: Path;
}

/** The waypoint that the label of an object itself names, and where this label is. */
function labelledIn(object: Labelable, mesh: View): Labelled | undefined {
  if (object.kind === "Workload") return labelledPods(object, mesh);
  if (object.kind === "WorkloadEntry") return labelledEntry(object, mesh);
  if (object.metadata.labels[useWaypoint] === undefined) return undefined;
  return { binding: bindingOf(object, mesh), at: labelAt };
}

function labelledPods(workload: ObjectOf<"Workload">, mesh: View): Labelled | undefined {
  if (workload.pod.labels[useWaypoint] === undefined || isOwned(workload)) return undefined;
  const [namespace] = mesh.related(namespaceOfLabelledWorkload, workload);
  return { binding: waypointBindingOfWorkload(workload, namespace, mesh), at: [...workload.podAt, ...labelAt] };
}

/** The label may be one of the spec. */
function labelledEntry(entry: ObjectOf<"WorkloadEntry">, mesh: View): Labelled | undefined {
  if (labelsOfWorkloadEntry(entry)[useWaypoint] === undefined) return undefined;
  const [namespace] = mesh.related(namespaceOfLabelledWorkloadEntry, entry);
  const at = entry.metadata.labels[useWaypoint] === undefined ? ["spec", "labels", useWaypoint] : labelAt;
  return { binding: waypointBindingOfWorkloadEntry(entry, namespace, mesh), at };
}

function bindingOf(
  object: Exclude<Labelable, { readonly kind: "Workload" | "WorkloadEntry" }>,
  mesh: View,
): WaypointBinding | undefined {
  if (object.kind === "Namespace") return isTerminating(object) ? undefined : mesh.get(waypointBinding, object);
  if (object.kind === "Service")
    return waypointBindingOfService(object, mesh.related(namespaceOfLabelledService, object)[0], mesh);
  return waypointBindingOfServiceEntry(object, mesh.related(namespaceOfLabelledServiceEntry, object)[0], mesh);
}

function problemOf(
  binding: WaypointBinding,
  object: AnyObject,
  { at, settings }: { readonly at: Path; readonly settings: MeshSettings },
): Problem {
  const { named, gateway } = binding;
  return {
    at,
    message: messageOf(binding, object, settings),
    fix: fixOf(binding, object),
    evidence: [gateway ?? absent("KubernetesGateway", named.namespace, named.name)],
  };
}

const consequence = "traffic bypasses it, and its policies and routes have no effect";

function messageOf({ named, gateway, trouble }: WaypointBinding, object: AnyObject, settings: MeshSettings): string {
  const waypoint = `Waypoint ${formatWaypoint(named)}`;
  if (named.name === "") return `Label ${useWaypoint} is empty, so no waypoint receives the traffic`;
  if (gateway === undefined) return `${waypoint} does not exist: ${consequence}`;
  if (trouble === "not a waypoint")
    return `Gateway ${formatWaypoint(named)} has class ${JSON.stringify(gateway.spec.gatewayClassName)} and is not a waypoint: policies and routes for a waypoint have no effect`;
  if (trouble === "deleting") return `${waypoint} is being deleted: soon ${consequence}`;
  if (trouble === "not ready") return `${waypoint} is not ready: until it is, ${consequence}`;
  if (trouble === "not allowed") return `${waypoint} does not accept namespace ${namespaceOf(object)}: ${consequence}`;
  const wanted = object.kind === "Namespace" ? "the contents of a namespace" : `a ${object.originKind}`;
  return `${waypoint} is for ${JSON.stringify(waypointTraffic(gateway, settings))} (istio.io/waypoint-for), not for ${wanted}: ${consequence}`;
}

const namespaceOf = ({ kind, metadata }: AnyObject): string =>
  kind === "Namespace" ? metadata.name : metadata.namespace;

function fixOf({ named, trouble }: WaypointBinding, object: AnyObject): string {
  const waypoint = formatWaypoint(named);
  if (named.name === "") return "Set the label to the name of a waypoint, or remove it. The value `none` opts out.";
  if (trouble === "not a waypoint")
    return "Set the label to the name of a Gateway with class istio-waypoint. `istioctl waypoint apply` creates one.";
  if (trouble === "deleting")
    return `Set the label to the name of another waypoint before ${waypoint} is gone, or remove the label.`;
  if (trouble === "not ready")
    return `Wait until waypoint ${waypoint} is ready before setting the label. The status of its Gateway says why it is not.`;
  if (trouble === "not allowed")
    return `Allow namespace ${namespaceOf(object)} in the HBONE listener of Gateway ${waypoint}: \`allowedRoutes.namespaces\` with \`from: All\`, or \`from: Selector\` and the namespace's labels.`;
  if (trouble === "other traffic")
    return `Set the label istio.io/waypoint-for of Gateway ${waypoint} to \`${object.kind === "Workload" || object.kind === "WorkloadEntry" ? "workload" : "service"}\` or \`all\`, or use another waypoint.`;
  return `Create the waypoint first (\`istioctl waypoint apply --namespace ${named.namespace} --name ${named.name}\`), or correct the name in the label.`;
}
