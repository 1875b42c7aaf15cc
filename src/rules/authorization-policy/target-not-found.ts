import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { kubernetesGatewayByName, namespaceByName, serviceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import {
  byNamespaceOfTargets,
  byTarget,
  faultOfTarget,
  refsOf,
  servedEntryByName,
  type Target,
  targetReads,
} from "../../mesh/waypoints/policy-targets.ts";
import { relation, setting } from "../../view/view.ts";

/** A policy and the Services of its namespace that it targets. */
const servicesTargetedByPolicy = relation(
  "servicesTargetedByPolicy",
  byTarget("AuthorizationPolicy", "Service"),
  serviceByName,
);
/** A policy and the ServiceEntries of its namespace that it targets. */
const serviceEntriesTargetedByPolicy = relation(
  "serviceEntriesTargetedByPolicy",
  byTarget("AuthorizationPolicy", "ServiceEntry"),
  servedEntryByName,
);
/** A policy and the Gateways of its namespace that it targets. */
const gatewaysTargetedByPolicy = relation(
  "gatewaysTargetedByPolicy",
  byTarget("AuthorizationPolicy", "KubernetesGateway"),
  kubernetesGatewayByName,
);

/** A policy that targets Services or ServiceEntries, and its namespace, whose labels can name their waypoint. */
const namespaceOfTargets = relation("namespaceOfTargets", byNamespaceOfTargets("AuthorizationPolicy"), namespaceByName);

const targeted = [servicesTargetedByPolicy, serviceEntriesTargetedByPolicy, gatewaysTargetedByPolicy] as const;
const reads = [...targeted, namespaceOfTargets, ...targetReads, setting("rootNamespace")] as const;

export const authorizationPolicyTargetNotFound = defineRule({
  id: "authorization-policy-target-not-found",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "The target of a policy does not exist, uses no waypoint or cannot have policies, so the policy has no effect.",
  why: "A policy with targetRefs applies only to its targets in the policy's own namespace. One that targets a Service or a ServiceEntry is enforced by its waypoint alone: sidecars and ztunnel do not read it (Istio pilot/pkg/serviceregistry/ambient/policies.go WaypointPolicyStatusCollection). A GatewayClass is a valid target only in the root namespace, for waypoints (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). The policy no longer applies to workloads.",
  fix: "Target a Service, ServiceEntry or Gateway in the policy's own namespace, with its group. To target all waypoints, use the GatewayClass istio-waypoint in the root namespace.",
  incident: {
    symptoms: ["no-effect", "open-access"],
    proxies: ["gateway", "waypoint"],
    seen: "What the policy should deny is answered, or what it should allow gets 403 because another policy denies by default.",
    wayOut: "Correct the name of the target. If the waypoint or Gateway was deleted, apply it again.",
    silentWhen: "Kinds of targets of which the mesh view has no information.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    if (!isServed(policy, mesh.settings)) return;
    const { namespace } = policy.metadata;
    const all = targeted.flatMap((related): readonly Target[] => mesh.related(related, policy));
    const known = new Map(all.map((target) => [`${target.kind} ${target.metadata.name}`, target]));
    const [of] = mesh.related(namespaceOfTargets, policy);
    const place = {
      namespace: of,
      targetNamed: (kind: Target["kind"], name: string) => known.get(`${kind} ${name}`),
    };
    for (const [i, ref] of refsOf(policy).entries()) {
      const fault = faultOfTarget(ref, policy, place, mesh);
      if (fault === undefined) continue;
      const { message, fix, missing, found } = fault;
      yield {
        at: policy.spec.targetRefs.length === 0 ? ["spec", "targetRef"] : ["spec", "targetRefs", i],
        message,
        fix,
        ...(missing ? { evidence: [absent(missing.kind, namespace, missing.name)] } : {}),
        ...(found ? { related: found.slice(0, 1), evidence: found } : {}),
      };
    }
  },
});
