import { defineRule } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { listening } from "../../mesh/membership/listening.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { index, relation } from "../../view/view.ts";

/** A policy for workloads that names ports, and its namespace. */
const namespaceOfPortPolicy = relation(
  "namespaceOfPortPolicy",
  index("AuthorizationPolicy", (policy, settings) => {
    const { namespace } = policy.metadata;
    const isRead = isEnforced(policy, settings) && namespace !== settings.rootNamespace;
    return isRead && targetRefsOf(policy).length === 0 && portsOf(policy).length > 0 ? [namespace] : [];
  }),
  namespaceByName,
);

/** The ports in the rules of a policy, with their paths, without those of Istio's own proxies (150xx). */
function portsOf({ spec }: AuthorizationPolicy): readonly { readonly port: number; readonly at: Path }[] {
  const found = spec.rules.flatMap(({ to, when }, i) => [
    ...to.flatMap(({ operation }, j) =>
      (["ports", "notPorts"] as const).flatMap((field) =>
        operation[field].map((value, k) => ({ value, at: ["spec", "rules", i, "to", j, "operation", field, k] })),
      ),
    ),
    ...when.flatMap((condition, j) =>
      (["values", "notValues"] as const).flatMap((field) =>
        condition.key === "destination.port"
          ? condition[field].map((value, k) => ({ value, at: ["spec", "rules", i, "when", j, field, k] }))
          : [],
      ),
    ),
  ]);
  return found
    .filter(({ value }) => /^[0-9]+$/.test(value) && !/^150[0-9]{2}$/.test(value))
    .map(({ value, at }) => ({ port: Number(value), at }));
}

export const authorizationPolicyPortUnknown = defineRule({
  id: "authorization-policy-port-unknown",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfPortPolicy, captured, listening],
  // Without workloads there is nothing to compare with.
  worksWithout: ["Service", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "None of the selected workloads is known to listen on a port that a rule names.",
  why: "The ports in a policy are those of the pods, not those of the Service (Istio pilot/pkg/security/authz/model/generator.go destPortGenerator). A rule for another port matches no request: an ALLOW rule allows nothing by it, and a DENY rule denies nothing.",
  fix: "Use the port on which the container listens (the Service's targetPort), or declare it in the container's ports.",

  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "ztunnel"],
    seen: "With an ALLOW rule, callers get 403 `RBAC: access denied`, or their connections are closed. With a DENY rule, nobody is denied.",
    wayOut: "Apply the previous version of the policy, or correct the port: it is the targetPort of the Service.",
    silentWhen:
      "No workload that is selected is known, or one of them declares no ports, so that it may listen anywhere.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfPortPolicy, policy);
    if (namespace === undefined) return;
    const workloads = mesh.get(captured, namespace).workloads.selected(policy.spec.selector?.matchLabels ?? {});
    const { ports, isOpen, services, hints } = mesh.get(listening, namespace).of(workloads);
    // Containers are not required to declare their ports.
    if (workloads.length === 0 || isOpen) return;
    for (const { port, at } of portsOf(policy)) {
      if (ports.has(port)) continue;
      yield {
        at,
        message: `No workload that this policy selects is known to listen on port ${port}${hints.get(port) ?? ""}`,
        related: services,
        evidence: workloads,
      };
    }
  },
});
