import { defineRule, type Problem } from "../../engine/rule.ts";
import { authorizationPoliciesOfNamespace } from "../../mesh/authorization/effective-authorization.ts";
import { actionOf, attachesToLabels, type AuthorizationPolicy, scopeOf } from "../../mesh/authorization/policies.ts";
import { asksForHttp } from "../../mesh/authorization/rules.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import type { MeshView } from "../../view/view.ts";
import {
  formatWaypoint,
  identityOfWaypoint,
  isUsable,
  type WaypointBinding,
  waypointBindingOfNamespace,
  waypointOfNamespace,
} from "../../mesh/waypoints/bindings.ts";
import { formatCaller } from "../../mesh/authorization/ztunnel-callers.ts";
import { atZtunnel, httpAttributesOf, type ZtunnelRule } from "../../mesh/authorization/ztunnel-rules.ts";
import { readsZtunnelScope, type ZtunnelScope, ztunnelScopeOf } from "../../mesh/waypoints/ztunnel-scope.ts";

const reads = [...readsZtunnelScope, authorizationPoliciesOfNamespace, waypointOfNamespace] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyNotEnforcedL7 = defineRule({
  id: "authorization-policy-not-enforced-l7",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["Workload", "KubernetesGateway"],
  mode: { protected: "deny", elsewhere: "warn" },
  since: "0.1.0",
  tags: ["ambient", "deny-all-gap"],
  summary: "A policy asks for HTTP attributes, or for an external authorizer, where ztunnel alone enforces it.",
  why: "A policy with a selector, or with nothing, is enforced by ztunnel for ambient workloads and never by a waypoint (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). ztunnel sees no HTTP: it drops ALLOW rules that ask for it, so that everyone is denied, and leaves DENY rules with nothing to look at, so that they deny nobody (pilot/pkg/serviceregistry/ambient/authorization.go handleRule). Policies with action CUSTOM it never gets.",
  fix: "Give the namespace a waypoint and bind the policy to it with `targetRefs`; for ztunnel ask for ports and identities alone.",

  *check(policy, mesh) {
    const action = actionOf(policy);
    const isConcerned = action === "CUSTOM" || policy.spec.rules.some(asksForHttp);
    if (!isConcerned || action === "AUDIT") return;
    const scope = ztunnelScopeOf(policy, mesh);
    if (scope === undefined) return;
    const binding = scope.isMeshWide ? undefined : waypointBindingOfNamespace(scope.namespace, mesh);
    if (action === "CUSTOM") yield custom(policy, scope, binding);
    else yield* ofRules({ policy, scope, binding, mesh });
  },
});

type Rule = AuthorizationPolicy["spec"]["rules"][number];
interface Judged {
  readonly policy: AuthorizationPolicy;
  readonly scope: ZtunnelScope;
  readonly binding: WaypointBinding | undefined;
  readonly mesh: View;
}

function* ofRules(judged: Judged): Iterable<Problem> {
  const { policy, scope, binding } = judged;
  for (const [i, rule] of policy.spec.rules.entries()) {
    const left = atZtunnel(rule, actionOf(policy));
    if (left === "whole") continue;
    yield {
      at: ["spec", "rules", i],
      message: `${whereOf(scope, binding)}: ${consequenceOf(left, rule, judged)}`,
      key: `${left} ${scopeOf(policy)}`,
      fix: fixOf(left, judged),
      evidence: [scope.namespace],
      // Who is denied notices; who is let in does not.
      ...(left === "never" && scope.isCertain ? {} : { atMost: "warn" as const }),
    };
  }
}

function custom(policy: AuthorizationPolicy, scope: ZtunnelScope, binding: WaypointBinding | undefined): Problem {
  return {
    at: ["spec", "action"],
    message: `${whereOf(scope, binding)}: ztunnel does not know action CUSTOM, so nobody is asked and ${shownScope(policy)} is left to other policies`,
    key: `custom ${scopeOf(policy)}`,
    evidence: [scope.namespace],
    atMost: "warn",
  };
}

function whereOf({ namespace, isMeshWide, isCertain }: ZtunnelScope, binding: WaypointBinding | undefined): string {
  if (isMeshWide) return "Ambient workloads have ztunnel alone for a policy without targetRefs";
  const { name } = namespace.metadata;
  const mode = isCertain ? "is ambient" : "may be ambient";
  return isUsable(binding)
    ? `${name} ${mode} and this policy is not bound to its waypoint ${formatWaypoint(binding.named)}`
    : `${name} ${mode} and has no waypoint`;
}

function consequenceOf(left: ZtunnelRule, rule: Rule, { policy, scope, mesh }: Judged): string {
  const shown = shownScope(policy);
  const attributes = httpAttributesOf(rule).join(", ");
  if (left === "never") return `at ztunnel the rule (${attributes}) never fires and denies nothing to ${shown}`;
  if (left === "part")
    return `ztunnel leaves ${attributes} out of the rule, and denies ${shown} what ports and identities alone say`;
  const denied = letsOthersIn(policy, scope, mesh) ? "what only it allows" : "every request";
  return `ztunnel drops the rule (${attributes}) and denies ${denied} to ${shown}`;
}

/** Whether some other rule, of this policy or another, lets anybody in. */
function letsOthersIn(policy: AuthorizationPolicy, { namespace }: ZtunnelScope, mesh: View): boolean {
  const labels = policy.spec.selector?.matchLabels ?? {};
  return mesh
    .related(authorizationPoliciesOfNamespace, namespace)
    .filter((other) => actionOf(other) === "ALLOW" && attachesToLabels(other, labels, "ztunnel"))
    .some(({ spec }) => spec.rules.some((rule) => !asksForHttp(rule)));
}

function shownScope({ metadata, spec }: AuthorizationPolicy): string {
  const labels = formatLabels(spec.selector?.matchLabels ?? {});
  return labels === "" ? `the workloads of ${metadata.namespace}` : labels.replaceAll(", ", ",");
}

function fixOf(left: ZtunnelRule, { policy, scope, binding, mesh }: Judged): string {
  if (scope.isMeshWide)
    return "Ask for ports and identities alone; bind the rest to GatewayClass istio-waypoint with targetRefs.";
  const { name } = scope.namespace.metadata;
  const named = isUsable(binding) ? binding.named : { name: "waypoint", namespace: name };
  const bind = isUsable(binding)
    ? `Bind this rule to waypoint ${formatWaypoint(named)} with targetRefs`
    : `Give ${name} a waypoint, bind this rule to it with targetRefs`;
  if (left !== "dropped") return `${bind}, or ask for ports and identities alone.`;
  const identity = formatCaller(identityOfWaypoint(named, binding?.gateway), mesh.settings);
  return `${bind}, and allow the waypoint's own identity (${identity}) to reach ${shownScope(policy)}.`;
}
