import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import {
  authorization,
  type Coverage,
  hasDefaultDeny,
  isDeniedByDefault,
} from "../../mesh/authorization/effective-authorization.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";

export const namespaceDefaultDenyMissing = defineRule({
  id: "namespace-default-deny-missing",
  subject: "Namespace",
  reads: [authorization],
  worksWithout: ["Workload", "KubernetesGateway"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["deny-all-gap"],
  summary: "A namespace, or a waypoint in it, has no default deny.",
  why: "A workload that no ALLOW policy selects accepts every request (Istio pilot/pkg/model/authorization.go ListAuthorizationPolicies). A waypoint enforces only policies that name it in targetRefs, so even a mesh-wide default deny does not apply to it (pilot/pkg/model/policyattachment.go ShouldAttachPolicy).",
  fix: "Apply an AuthorizationPolicy with `spec: {}` in this namespace, then ALLOW policies for the requests that are needed.",

  *check(namespace, mesh) {
    const { rootNamespace } = mesh.settings;
    const { name } = namespace.metadata;
    // The root namespace contains the mesh-wide policies; its own workloads are the control plane.
    if (name === rootNamespace || isTerminating(namespace)) return;
    const found = mesh.get(authorization, namespace);
    const evidence = [absent("AuthorizationPolicy", name), absent("AuthorizationPolicy", rootNamespace)];
    const coverage = found.ofUnselected;
    if (!hasDefaultDeny(coverage) && !found.isGuardedOneByOne)
      yield {
        at: [],
        topic: "default deny",
        message: "There is no default deny: workloads that no ALLOW policy selects accept requests from everyone",
        evidence,
      };
    yield* liftedFromElsewhere(coverage, name);
    for (const gateway of found.gateways)
      if (gateway.isWaypoint && !hasDefaultDeny(found.ofGateway(gateway)))
        yield {
          at: [],
          topic: "default deny",
          message: `Waypoint ${gateway.name} has no default deny: it enforces only policies that name it in targetRefs`,
          evidence,
          fix: waypointFix(gateway.name),
        } satisfies Problem;
  },
});

/** authorization-policy-allows-everyone reports policies of the namespace itself. */
function* liftedFromElsewhere(coverage: Coverage, namespace: string): Iterable<Problem> {
  const { openedBy } = coverage;
  if (openedBy === undefined || openedBy.metadata.namespace === namespace) return;
  if (!hasDefaultDeny(coverage) || isDeniedByDefault(coverage)) return;
  yield {
    at: [],
    topic: "default deny",
    message: `The default deny has no effect: ${idOf(openedBy)} allows everyone`,
    related: [openedBy],
    evidence: [openedBy],
    fix: `Delete ${idOf(openedBy)}, or restrict the callers in its rules.`,
  };
}

const waypointFix = (waypoint: string): string =>
  `Apply an AuthorizationPolicy without rules whose targetRefs name the Gateway ${waypoint} (group gateway.networking.k8s.io, kind Gateway), then ALLOW policies for the requests that are needed.`;
