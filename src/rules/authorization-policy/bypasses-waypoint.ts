import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { actionOf, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { formatCaller } from "../../mesh/authorization/ztunnel-callers.ts";
import { formatWaypoint } from "../../mesh/waypoints/bindings.ts";
import type { Guard } from "../../mesh/waypoints/behind-waypoints.ts";
import { guardsOfPolicy } from "../../mesh/waypoints/guards.ts";
import type { MeshSettings } from "../../view/settings.ts";

export const authorizationPolicyBypassesWaypoint = defineRule({
  id: "authorization-policy-bypasses-waypoint",
  subject: "AuthorizationPolicy",
  reads: [guardsOfPolicy],
  worksWithout: ["Workload", "Service"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient", "deny-all-gap"],
  summary: "A policy is enforced only at a waypoint, and callers can reach the pods behind it directly.",
  why: "Requests to the address of a pod, from a sidecar, or through an ingress gateway without `istio.io/ingress-use-waypoint` bypass the waypoint, which processes requests to the Service from ambient clients (ztunnel src/proxy/outbound.rs; Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForWorkload). Only ztunnel at the pod can deny them, and no policy makes it do so.",
  fix: "Apply an ALLOW policy without targetRefs whose only principal is that of the waypoint, so that all other callers are denied.",
  incident: {
    symptoms: ["open-access", "waypoint-bypassed"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Requests to the address of a pod, from a sidecar or through a gateway get answers that the policy at the waypoint would deny, and the access log of the waypoint does not have them.",
    wayOut:
      "Apply the ALLOW policy of the fix, and name the callers beside the waypoint that must keep access, such as an ingress gateway.",
    silentWhen:
      "The policy has action AUDIT, it is for all waypoints by their GatewayClass or for a ServiceEntry, or a policy without targetRefs restricts the callers of these workloads already.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(policy, mesh) {
    if (actionOf(policy) === "AUDIT") return;
    const isList = targetRefsOf(policy) === policy.spec.targetRefs;
    // What bypasses a waypoint bypasses its canary, too.
    for (const guard of mesh.get(guardsOfPolicy, policy).answering("open"))
      if (!guard.isOfShare) yield problemOf(guard, isList, mesh.settings);
  },
});

function problemOf({ waypoint, caller, namespace, behind }: Guard, isList: boolean, settings: MeshSettings): Problem {
  const { name } = namespace.metadata;
  return {
    at: ["spec", isList ? "targetRefs" : "targetRef"],
    message: `Traffic that bypasses waypoint ${formatWaypoint(waypoint)} is not checked: ztunnel allows any caller to reach ${behind}`,
    fix: `Apply an ALLOW policy without targetRefs in ${name} that selects the workloads and has \`principals: ["${formatCaller(caller, settings)}"]\` in its only rule.`,
    evidence: [absent("AuthorizationPolicy", name)],
  };
}
