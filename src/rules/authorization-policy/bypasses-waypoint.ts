import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { actionOf, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { formatCaller } from "../../mesh/authorization/ztunnel-callers.ts";
import { formatWaypoint } from "../../mesh/waypoints/bindings.ts";
import { type Guard, guardsOf, readsWaypointGuards } from "../../mesh/waypoints/guards.ts";
import type { MeshSettings } from "../../view/settings.ts";

export const authorizationPolicyBypassesWaypoint = defineRule({
  id: "authorization-policy-bypasses-waypoint",
  subject: "AuthorizationPolicy",
  reads: readsWaypointGuards,
  worksWithout: ["Workload", "Service"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient", "deny-all-gap"],
  summary: "A policy holds at a waypoint alone, and callers can reach the pods behind it directly.",
  why: "Who calls a pod by its address, from a sidecar or through an ingress gateway goes past the waypoint, which serves requests to the Service from ambient clients (zt:src/proxy/outbound.rs; Istio pilot/pkg/serviceregistry/ambient/waypoints.go fetchWaypointForWorkload). Only ztunnel at the pod can refuse them, and nothing tells it to.",
  fix: "Apply an ALLOW policy without targetRefs whose only principal is the waypoint's: who does not come through it is refused.",

  *check(policy, mesh) {
    if (actionOf(policy) === "AUDIT") return;
    for (const guard of guardsOf(policy, mesh))
      if (guard.answer === "open")
        yield problemOf(guard, targetRefsOf(policy) === policy.spec.targetRefs, mesh.settings);
  },
});

function problemOf({ waypoint, caller, namespace, behind }: Guard, isList: boolean, settings: MeshSettings): Problem {
  const { name } = namespace.metadata;
  return {
    at: ["spec", isList ? "targetRefs" : "targetRef"],
    message: `Callers that go past waypoint ${formatWaypoint(waypoint)} go past this policy: ztunnel lets anyone through to ${behind}`,
    fix: `Apply an ALLOW policy without targetRefs in ${name} that selects the workloads and has \`principals: ["${formatCaller(caller, settings)}"]\` in its only rule.`,
    evidence: [absent("AuthorizationPolicy", name)],
  };
}
