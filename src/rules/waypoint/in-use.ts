import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { useWaypoint, waypointFor } from "../../mesh/objects/labels.ts";
import {
  type DeletedWaypoint,
  deletedWaypoints,
  readsDeletedWaypoints,
} from "../../mesh/waypoints/deleted-waypoints.ts";

export const waypointInUse = defineRule({
  id: "waypoint-in-use",
  subject: "Namespace",
  reads: readsDeletedWaypoints,
  worksWithout: [
    "AuthorizationPolicy",
    "KubernetesGateway",
    "RequestAuthentication",
    "Service",
    "ServiceEntry",
    "Workload",
    "WorkloadEntry",
  ],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["ambient"],
  summary:
    "A waypoint is deleted, or processes other requests, although labels of a namespace, or of what is in it, still name it.",
  why: "Without the Gateway that `istio.io/use-waypoint` names, ztunnel sends requests directly to the pods (Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForTarget). Routes, retries, telemetry and policies of the waypoint have no effect from then on, and where policies of ztunnel allow only the waypoint, all requests are refused. So it is with the requests to Services, or to pods, that another value of `istio.io/waypoint-for` takes away from it.",
  fix: "First remove the label `istio.io/use-waypoint`, or let it name another waypoint, and then delete the Gateway.",
  incident: {
    symptoms: ["waypoint-bypassed", "access-denied"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Requests are answered as if there were no waypoint, or all of them are refused by a policy that allows only the waypoint.",
    wayOut:
      "Apply the Gateway again; ztunnel sends new connections through the waypoint as soon as it has a ready pod.",
    silentWhen:
      "The namespace is deleted, nothing in it uses the waypoint, the label was removed or changed before or with the same change, or the waypoint was not usable before.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *compare(before, after) {
    for (const deleted of deletedWaypoints(before, after)) yield problemOf(deleted, idOf(after.object));
  },
});

function problemOf(deleted: DeletedWaypoint, namespace: string): Problem {
  const { gateway, leaves } = deleted;
  const [at, related]: readonly [Problem["at"], Problem["related"]] = [[], [gateway]];
  if (leaves === undefined)
    return {
      at,
      message: `${idOf(gateway)} is deleted, and label ${useWaypoint} of ${whoOf(deleted, namespace)} still names it`,
      key: idOf(gateway),
      related,
    };
  return {
    at,
    message: `${idOf(gateway)} no longer processes requests to ${leaves}, and label ${useWaypoint} of ${namespace} still names it`,
    key: JSON.stringify([idOf(gateway), leaves]),
    related,
    fix: `Keep the label ${waypointFor} of the Gateway or of its GatewayClass, or first let labels of the ${leaves} name another waypoint.`,
    onlyWarns: "routes and telemetry of the waypoint may not be needed for these requests",
  };
}

function whoOf({ users: [first, ...others], isOfNamespace }: DeletedWaypoint, namespace: string): string {
  if (first === undefined) return namespace;
  const own = others.length === 0 ? idOf(first) : `${idOf(first)} and ${others.length} more`;
  return isOfNamespace ? `${namespace} and ${own}` : own;
}
