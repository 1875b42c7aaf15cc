import { defineRule, type Problem } from "../../engine/rule.ts";
import { absent } from "../../kube/kinds.ts";
import { authorizationOf, hasDefaultDeny, isGuardedOneByOne, readsAuthorization } from "../../mesh/authorization.ts";
import { isTerminating } from "../../mesh/namespaces.ts";

export const defaultDenyMissing = defineRule({
  id: "namespace-default-deny-missing",
  subject: "Namespace",
  reads: [...readsAuthorization],
  worksWithout: ["Namespace", "Workload", "KubernetesGateway"],
  mode: "warn",
  onlyProtected: true,
  tags: ["deny-all-gap"],
  summary: "Nothing denies by default in a namespace, or at a waypoint of it.",
  why: "A workload that no ALLOW policy selects lets every request in (Istio pilot/pkg/model/authorization.go ListAuthorizationPolicies). A waypoint counts only policies that name it in targetRefs: not even a mesh-wide default deny reaches it (pilot/pkg/model/policyattachment.go ShouldAttachPolicy).",
  fix: "Apply an AuthorizationPolicy with `spec: {}` in this namespace, then allow what is needed.",

  *check(namespace, mesh) {
    const { rootNamespace } = mesh.settings;
    const { name } = namespace.metadata;
    // The mesh-wide policies live there; its own workloads are the mesh itself.
    if (name === rootNamespace || isTerminating(namespace)) return;
    const authorization = authorizationOf(namespace, mesh);
    const restsOn = [absent("AuthorizationPolicy", name), absent("AuthorizationPolicy", rootNamespace)];
    if (!hasDefaultDeny(authorization.ofLabels({})) && !isGuardedOneByOne(authorization, namespace))
      yield {
        at: [],
        message: `Namespace ${name} has no default deny yet: workloads that no ALLOW policy selects are open to everyone`,
        restsOn,
      };
    for (const gateway of authorization.gateways)
      if (gateway.isWaypoint && !hasDefaultDeny(authorization.ofGateway(gateway)))
        yield {
          at: [],
          message: `Waypoint ${name}/${gateway.name} has no default deny: only policies that name it in targetRefs count there`,
          restsOn,
          fix: waypointFix(gateway.name),
        } satisfies Problem;
  },
});

const waypointFix = (waypoint: string): string =>
  `Apply an AuthorizationPolicy without rules whose targetRefs name the Gateway ${waypoint} (group gateway.networking.k8s.io, kind Gateway), then allow what is needed.`;
