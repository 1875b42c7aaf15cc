import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  isForIngress,
  isIstiosWaypoint,
  isProxyOf,
  type KubernetesGateway,
  serviceAccountOf,
} from "../../mesh/membership/gateways.ts";
import { isOfGateway, isOwned } from "../../mesh/membership/workloads.ts";
import { formatWaypoint, identityOfWaypoint } from "../../mesh/waypoints/bindings.ts";
import { fact, index, relation } from "../../view/view.ts";

/** Waypoints by the service account that istiod runs them with, `namespace/name`. */
const waypointByAccount = index("KubernetesGateway", (gateway, settings) => {
  if (!isIstiosWaypoint(gateway, settings)) return [];
  const { namespace, serviceAccount } = identityOfWaypoint(gateway.metadata, gateway);
  return [`${namespace}/${serviceAccount}`];
});

/** A workload and the waypoints of its namespace that have its service account. */
const waypointsRunningAs = relation(
  "waypointsRunningAs",
  index("Workload", (workload) =>
    isOwned(workload) ? [] : [`${workload.metadata.namespace}/${workload.pod.serviceAccountName}`],
  ),
  waypointByAccount,
);

/** An ingress gateway of the Gateway API and the waypoints of its namespace that have its service account. */
const waypointsOfIngressAccount = relation(
  "waypointsOfIngressAccount",
  index("KubernetesGateway", (gateway, settings) =>
    isForIngress(gateway, settings) ? [`${gateway.metadata.namespace}/${serviceAccountOf(gateway, settings)}`] : [],
  ),
  waypointByAccount,
);

/** The waypoints with a service account, by name; the second one counts if the first one is run by the judged workload. */
const waypointsWithAccount = fact(
  "waypointsWithAccount",
  "key",
  [waypointsRunningAs],
  (account, mesh): readonly KubernetesGateway[] =>
    [...mesh.under(waypointsRunningAs, [account])].sort(byName).slice(0, 2),
);
const byName = (a: KubernetesGateway, b: KubernetesGateway): number => (a.metadata.name < b.metadata.name ? -1 : 1);

export const workloadRunsAsWaypoint = defineRule({
  id: "workload-runs-as-waypoint",
  subject: ["Workload", "KubernetesGateway"],
  reads: [waypointsRunningAs, waypointsOfIngressAccount, waypointsWithAccount],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "ambient"],
  summary: "A workload or an ingress gateway runs with the service account of a waypoint.",
  why: "A caller is known to ztunnel only by its service account (ztunnel src/rbac.rs). A policy that lets the waypoint in also lets in every pod with the same account, and such a pod reaches the workloads behind the waypoint without the policies that the waypoint enforces.",
  fix: "Give the workload a service account of its own, or run the waypoint in a namespace of its own (istio.io/use-waypoint-namespace).",
  incident: {
    symptoms: ["open-access", "waypoint-bypassed"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Requests of the workload get answers that the policies at the waypoint would deny, and the access log of the waypoint does not have them.",
    wayOut:
      "Set another serviceAccountName in the workload, or another annotation gateway.istio.io/service-account in the Gateway.",
    silentWhen:
      "The waypoint is in another namespace, whose service accounts the workload cannot have, or istiod runs the workload for the waypoint.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(object, mesh) {
    const isWorkload = object.kind === "Workload";
    if (isWorkload ? isOwned(object) : !isForIngress(object, mesh.settings)) return;
    const serviceAccount = isWorkload ? object.pod.serviceAccountName : serviceAccountOf(object, mesh.settings);
    const waypoint = mesh
      .get(waypointsWithAccount, `${object.metadata.namespace}/${serviceAccount}`)
      .find((one) => !(isWorkload && isOfGateway(object) && isProxyOf(object, one, mesh.settings)));
    if (waypoint === undefined) return;
    yield {
      at: isWorkload ? [...object.podAt, "spec", "serviceAccountName"] : [],
      message: `${idOf(object)} runs with service account ${serviceAccount}, as waypoint ${formatWaypoint(waypoint.metadata)} does: ztunnel lets it in wherever it lets the waypoint in`,
      key: "waypoint",
      evidence: [waypoint],
      related: [waypoint],
    };
  },
});
