import { defineRule } from "../../engine/rule.ts";
import { type Applied, rulesOf } from "../../mesh/authorization/requests/applied.ts";
import { placesThatMayCloseAndServed, readsServedPlaces } from "../../mesh/waypoints/served-places.ts";

export const namespaceNobodyAllowed = defineRule({
  id: "namespace-nobody-allowed",
  subject: "Namespace",
  reads: readsServedPlaces,
  worksWithout: ["Workload", "KubernetesGateway", "Service", "ServiceEntry", "WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary: "The change ends the last rule that allows requests to a workload, and a default deny stays.",
  why: "As long as some ALLOW policy applies, even one without rules, a request that no rule allows is denied (Istio pilot/pkg/security/authz/builder/builder.go, ztunnel src/rbac.rs). Where a policy with `spec: {}` stays and the last rule goes, nobody is left whom anything allows: every request gets 403, and ztunnel closes every connection.",
  fix: "Keep a rule for the callers that are needed. If nobody is to call the workload any more, delete the workload, or remove its callers first.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "All requests to the workload fail with 403, or its connections are closed, from the moment of the change.",
    wayOut: "Apply the ALLOW policy again that was deleted or changed.",
    silentWhen:
      "Everything was denied before, the default deny goes too, a DENY policy for all requests is added, or it is about workloads that do not exist yet.",
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
  },
});

const allowsSome = (applied: Applied): boolean => rulesOf(applied).some(({ allow }) => allow.length > 0);
const allowsNobody = (applied: Applied): boolean => {
  const rules = rulesOf(applied);
  return rules.some(({ hasAllow }) => hasAllow) && rules.every(({ allow }) => allow.length === 0);
};
