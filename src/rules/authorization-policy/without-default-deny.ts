import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import {
  authorizationOf,
  hasDefaultDeny,
  isGuardedOneByOne,
  type NamespaceAuthorization,
  namespaceOfAuthorizationPolicy,
  readsAuthorization,
} from "../../mesh/authorization/effective-authorization.ts";
import { actionOf, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";

export const authorizationPolicyWithoutDefaultDeny = defineRule({
  id: "authorization-policy-without-default-deny",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfAuthorizationPolicy, ...readsAuthorization],
  worksWithout: ["Workload", "KubernetesGateway"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  // When a default deny goes, namespace-default-deny-removed says so; a workload that comes or goes is no policy's fault.
  onlyOwnChanges: true,
  tags: ["deny-all-gap"],
  summary:
    "An ALLOW policy guards the workloads that it selects, and nothing denies by default what reaches the others.",
  why: "A workload that no ALLOW policy selects lets every request in (Istio pilot/pkg/model/authorization.go ListAuthorizationPolicies, pilot/pkg/security/authz/builder/builder.go): an ALLOW policy with a selector says nothing about the rest of its namespace.",
  fix: "First deny by default: apply an AuthorizationPolicy with `spec: {}` in this namespace, then the ALLOW policies. Flux, Argo CD and Helm may apply both in any order.",

  *check(policy, mesh) {
    const { rootNamespace } = mesh.settings;
    const { namespace: name } = policy.metadata;
    // The root namespace holds policies for others; what runs in it is the mesh itself.
    if (name === rootNamespace || actionOf(policy) !== "ALLOW") return;
    // Without a selector it is the default deny; with targetRefs it is for a waypoint, see namespace-default-deny-missing.
    if (policy.spec.selector === undefined || targetRefsOf(policy).length > 0) return;
    for (const namespace of mesh.related(namespaceOfAuthorizationPolicy, policy)) {
      const authorization = authorizationOf(namespace, mesh);
      if (isTerminating(namespace) || !leavesOpen(authorization, namespace)) continue;
      yield {
        at: ["spec", "selector"],
        message: `Nothing denies by default in namespace ${name}: workloads that this policy does not select stay open to everyone`,
        ...(isCovered(authorization) ? { atMost: "warn" as const } : {}),
        evidence: [absent("AuthorizationPolicy", name), absent("AuthorizationPolicy", rootNamespace)],
      };
    }
  },
});

const leavesOpen = (authorization: NamespaceAuthorization, namespace: Namespace): boolean =>
  !hasDefaultDeny(authorization.ofLabels({})) && !isGuardedOneByOne(authorization, namespace);

/** Nothing that runs is open: all that is missing is a default for what comes. A single workload does not show that. */
const isCovered = ({ knowsWorkloads, workloads, ofWorkload }: NamespaceAuthorization): boolean =>
  knowsWorkloads && workloads.length > 1 && workloads.every((workload) => hasDefaultDeny(ofWorkload(workload)));
