import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { allowsNobody, allowsSome } from "../../mesh/authorization/requests/applied.ts";
import { formatWaypoint } from "../../mesh/waypoints/bindings.ts";
import { type ClosedWay, closedWays, readsNewWays } from "../../mesh/waypoints/new-ways.ts";
import { placesThatMayCloseAndServed } from "../../mesh/waypoints/served-places.ts";

export const namespaceNobodyAllowed = defineRule({
  id: "namespace-nobody-allowed",
  subject: "Namespace",
  reads: readsNewWays,
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "The change ends the last rule that allows requests to a workload, and a default deny stays; or requests go another way, where nothing allows them.",
  why: "As long as some ALLOW policy applies, even one without rules, a request that no rule allows is denied (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs). Where a policy with `spec: {}` stays and the last rule goes, nobody is left whom anything allows: every request gets 403, and ztunnel closes every connection. So it is behind a waypoint whose policies allow nobody, and where requests bypass the only waypoint that ztunnel lets in.",
  fix: "Keep a rule for the callers that are needed. If nobody is to call the workload any more, delete the workload, or remove its callers first.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "All requests to the workload fail with 403, or its connections are closed, from the moment of the change.",
    wayOut: "Apply the ALLOW policy again that was deleted or changed, or put the label or the Gateway back.",
    silentWhen:
      "Everything was denied before, the default deny goes too, a DENY policy for all requests is added, or it is about workloads that do not exist yet, or about the Service of a gateway.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *compare(before, after) {
    for (const place of placesThatMayCloseAndServed(before, after)) {
      yield;
      if (place === undefined) continue;
      const { name, future, asked } = place;
      const { was, is } = asked;
      if (future !== undefined || !allowsSome(was) || !allowsNobody(is)) continue;
      // A DENY policy that refuses every request leaves nothing to end.
      if (place.coverageBefore().sealedBy !== undefined) continue;
      const [closing] = is.lists.flatMap(({ policies }) =>
        policies.filter(({ spec }) => (spec.action ?? "ALLOW") === "ALLOW"),
      );
      yield {
        at: [],
        message: `Nothing allows requests to ${name} any more, so all of them are denied`,
        key: name,
        related: closing === undefined ? [] : [closing],
      };
    }
    for (const way of closedWays(before, after)) yield problemOf(way);
  },
});

function problemOf({ objects: [first, ...others], waypoint }: ClosedWay): Problem {
  const name = `${first === undefined ? "" : idOf(first)}${others.length === 0 ? "" : ` and ${others.length} ${others.length === 1 ? "other" : "others"}`}`;
  const why =
    waypoint === undefined
      ? "they bypass their waypoint, and ztunnel rejects every caller but waypoints"
      : `they go through waypoint ${formatWaypoint(waypoint.named)}, which refuses all of them`;
  return {
    at: [],
    message: `Nothing allows requests to ${name} any more: from now on ${why}`,
    key: waypoint === undefined ? "ztunnel" : formatWaypoint(waypoint.named),
    related: [first, waypoint?.gateway].filter((object) => object !== undefined),
    fix:
      waypoint === undefined
        ? "Apply an ALLOW policy without targetRefs for the callers that are needed first, or keep the waypoint."
        : "Apply an ALLOW policy for the callers that are needed first, with targetRefs that name the Service or the waypoint.",
  };
}
