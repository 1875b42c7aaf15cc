import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { formatCaller } from "../../mesh/authorization/ztunnel-callers.ts";
import type { Namespace } from "../../mesh/membership/namespaces.ts";
import { formatWaypoint } from "../../mesh/waypoints/bindings.ts";
import type { Guard } from "../../mesh/waypoints/behind-waypoints.ts";
import { guardsOfCallers, guardsOfPolicy } from "../../mesh/waypoints/guards.ts";
import type { MeshSettings } from "../../view/settings.ts";

export const authorizationPolicyWaypointLockedOut = defineRule({
  id: "authorization-policy-waypoint-locked-out",
  subject: "AuthorizationPolicy",
  reads: [guardsOfPolicy, guardsOfCallers],
  worksWithout: ["Workload", "Service"],
  mode: "warn",
  since: "0.1.0",
  tags: ["ambient"],
  summary:
    "A policy is attached to a waypoint, and no policy allows the waypoint itself, or its canary, to reach the workloads behind it.",
  why: "Behind a waypoint ztunnel sees the waypoint's identity, not the caller's: ALLOW policies without targetRefs, a default deny among them, deny it as long as none of them names it (Istio pilot/pkg/serviceregistry/ambient/authorization.go; PILOT_AUTO_ALLOW_WAYPOINT_POLICY is off by default). Then ztunnel denies every request that the waypoint allows.",
  fix: "Apply an ALLOW policy without targetRefs that names the waypoint's principal and selects the workloads.",
  incident: {
    symptoms: ["reset"],
    proxies: ["waypoint", "ztunnel"],
    seen: "Every request through the waypoint fails with status 503. ztunnel at the server logs `allow policies exist, but none allowed` with the identity of the waypoint as the source.",
    wayOut:
      "Apply the ALLOW policy of the fix; it opens the workloads to the waypoint alone. Or delete the policy with targetRefs, if it is new.",
    silentWhen:
      "An ALLOW policy names the waypoint or every identity, no policy without targetRefs is for the workloads, or the workloads are not known.",
    page: "https://istio.io/latest/docs/ambient/usage/waypoint/",
  },

  *check(policy, mesh) {
    const { settings } = mesh;
    const at = ["spec", policy.spec.targetRefs.length > 0 ? "targetRefs" : "targetRef"];
    for (const guard of mesh.get(guardsOfPolicy, policy).answering("refused")) yield boundProblem(guard, at, settings);
    for (const guard of mesh.get(guardsOfCallers, policy).answering("refused")) yield selectedProblem(guard, settings);
  },
});

function boundProblem(
  { waypoint, caller, namespace, behind, isOfShare }: Guard,
  at: Path,
  settings: MeshSettings,
): Problem {
  const principal = formatCaller(caller, settings);
  return {
    at,
    message: `ztunnel denies waypoint ${formatWaypoint(waypoint)}: no policy allows ${principal} to reach ${behind}, so every request ${isOfShare ? "through it " : ""}is denied`,
    fix: fixOf(namespace, principal),
    evidence: [absent("AuthorizationPolicy", namespace.metadata.name)],
  };
}

function selectedProblem({ waypoint, caller, namespace, behind, isOfShare }: Guard, settings: MeshSettings): Problem {
  const principal = formatCaller(caller, settings);
  return {
    at: ["spec", "rules"],
    message: `${isOfShare ? "A share of the requests" : "Requests"} to ${behind} come${isOfShare ? "s" : ""} from waypoint ${formatWaypoint(waypoint)}, and no policy allows ${principal}: ${isOfShare ? "ztunnel denies them" : "the callers that this policy allows are denied"}`,
    fix: fixOf(namespace, principal),
    evidence: [absent("AuthorizationPolicy", namespace.metadata.name)],
  };
}

const fixOf = ({ metadata }: Namespace, principal: string): string =>
  `Apply an ALLOW policy without targetRefs in ${metadata.name} that selects the workloads and has \`principals: ["${principal}"]\` in its rule.`;
