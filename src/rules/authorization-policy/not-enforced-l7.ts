import { defineRule, type Problem } from "../../engine/rule.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, scopeOf } from "../../mesh/authorization/policies.ts";
import { policySetOf } from "../../mesh/authorization/policy-set.ts";
import { formatCaller } from "../../mesh/authorization/ztunnel-callers.ts";
import { atZtunnel, unseenAttributesOf, type ZtunnelRule } from "../../mesh/authorization/ztunnel-rules.ts";
import { rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { formatLabels } from "../../mesh/objects/selectors.ts";
import {
  formatWaypoint,
  identityOfWaypoint,
  isUsable,
  type WaypointBinding,
  waypointBinding,
} from "../../mesh/waypoints/bindings.ts";
import { refusedAtWaypoints } from "../../mesh/waypoints/refused-at-waypoints.ts";
import { scopeBeyondZtunnel, type ZtunnelScope } from "../../mesh/waypoints/ztunnel-scope.ts";
import { fact, forWording, index, type MeshView, relation } from "../../view/view.ts";

/** A namespace and its own ALLOW policies of which ztunnel keeps a rule. */
const plainAllowsOfNamespace = relation(
  "plainAllowsOfNamespace",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) => {
    const isPlain =
      actionOf(policy) === "ALLOW" && policy.spec.rules.some((rule) => atZtunnel(rule, "ALLOW") !== "dropped");
    return isPlain && isEnforced(policy, settings) ? [policy.metadata.namespace] : [];
  }),
);
/** The ALLOW policies of a namespace of which ztunnel keeps a rule. */
const plainAllows = fact("plainAllows", "Namespace", [plainAllowsOfNamespace], (namespace, mesh) =>
  policySetOf(mesh.related(plainAllowsOfNamespace, namespace), mesh.settings),
);

/** Those that apply in a namespace: its own and the mesh-wide ones. */
const plainAllowsFor = fact("plainAllowsFor", "Namespace", [plainAllows, rootOfNamespace], (namespace, mesh) =>
  [namespace, ...mesh.related(rootOfNamespace, namespace)].map((one) => mesh.get(plainAllows, one)),
);

const otherAllows = forWording(plainAllowsFor);
const waypoint = forWording(waypointBinding);
const refused = forWording(refusedAtWaypoints);

const reads = [scopeBeyondZtunnel, otherAllows, waypoint, refused] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyNotEnforcedL7 = defineRule({
  id: "authorization-policy-not-enforced-l7",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["Workload", "WorkloadEntry", "KubernetesGateway", "Service", "ServiceEntry"],
  mode: { protected: "deny", elsewhere: "warn" },
  since: "0.1.0",
  tags: ["ambient", "deny-all-gap"],
  summary: "A policy uses HTTP attributes, trust domains or an external authorizer, but only ztunnel enforces it.",
  why: "A policy without targetRefs is enforced by ztunnel for ambient workloads and never by a waypoint (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). ztunnel does not parse HTTP. It drops ALLOW rules with HTTP attributes, so that everyone is denied. It removes HTTP attributes from DENY rules, so that a rule without other attributes denies nobody (pilot/pkg/serviceregistry/ambient/authorization.go handleRule). It never receives trust domains of sources: a source with nothing else matches nobody, and others match callers of every trust domain. It never receives policies with action CUSTOM.",
  fix: "Create a waypoint for the namespace and attach the policy to it with `targetRefs`. In policies for ztunnel, use only ports and identities.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["ztunnel"],
    seen: "An ALLOW rule with methods, paths or hosts, or with trust domains alone, denies everybody; a DENY rule with them alone denies nobody. ztunnel logs no attribute of HTTP.",
    wayOut:
      "For denied callers: apply an ALLOW policy with their principals and ports alone. For callers that get in: deny them by principal, or restrict them with an ALLOW policy for ztunnel.",
    silentWhen:
      "The policy has targetRefs, or no workload that it applies to is ambient. It only warns of a DENY policy where ztunnel lets in only waypoints, and these refuse the same requests.",
    page: "https://istio.io/latest/docs/ambient/usage/l7-features/",
  },

  *check(policy, mesh) {
    const scope = mesh.get(scopeBeyondZtunnel, policy);
    if (scope === undefined) return;
    const binding = scope.isMeshWide ? undefined : mesh.get(waypoint, scope.namespace);
    if (actionOf(policy) === "CUSTOM") yield custom(policy, scope, binding);
    else yield* ofRules({ policy, scope, binding, mesh });
  },
});

interface Judged {
  readonly policy: AuthorizationPolicy;
  readonly scope: ZtunnelScope;
  readonly binding: WaypointBinding | undefined;
  readonly mesh: View;
}
/** The texts that are the same for all rules of which ztunnel keeps the same part. */
interface Said {
  readonly key: string;
  readonly fix: string;
  consequence(attributes: string): string;
}

function* ofRules(judged: Judged): Iterable<Problem> {
  const { policy, scope, binding } = judged;
  const where = whereOf(scope, binding);
  const known = new Map<ZtunnelRule, Said>();
  for (const [i, rule] of policy.spec.rules.entries()) {
    const left = atZtunnel(rule, actionOf(policy));
    if (left === "whole") continue;
    const said = known.get(left) ?? saidOf(left, judged);
    known.set(left, said);
    yield {
      at: ["spec", "rules", i],
      message: `${where}: ${said.consequence(unseenAttributesOf(rule).join(", "))}`,
      key: said.key,
      fix: said.fix,
      evidence: [scope.namespace],
      ...guessOf(scope),
      ...doubtOf(left, judged),
    };
  }
}

/** Why nobody gets in who should not. A denied caller notices the problem; an allowed one does not. */
function doubtOf(left: ZtunnelRule, { policy, scope, mesh }: Judged): Pick<Problem, "onlyWarns" | "fix"> {
  if (!scope.isCertain) return { onlyWarns: "it is not known whether the namespace is ambient" };
  if (left !== "never" && left !== "wider")
    return { onlyWarns: "it rejects more requests, so that nobody gains access" };
  if (left === "wider" || scope.isMeshWide || !mesh.get(refused, scope.namespace).denies(policy)) return {};
  return {
    onlyWarns: "ztunnel lets in only waypoints, which refuse these requests",
    fix: "Delete the policy: those at the waypoint have taken its place. Without sidecars, nothing enforces it.",
  };
}

function custom(policy: AuthorizationPolicy, scope: ZtunnelScope, binding: WaypointBinding | undefined): Problem {
  return {
    at: ["spec", "action"],
    message: `${whereOf(scope, binding)}: ztunnel does not support action CUSTOM, so no provider is called and only other policies apply to ${shownScope(policy, scope)}`,
    key: `custom ${scopeOf(policy)}`,
    fix: `${attachFix("the policy", scope, binding)}.`,
    evidence: [scope.namespace],
    ...guessOf(scope),
    onlyWarns: "the other policies still apply",
  };
}

const guessOf = ({ isCertain, namespace }: ZtunnelScope): Pick<Problem, "guess" | "guessOf"> =>
  isCertain ? {} : { guess: `whether namespace ${namespace.metadata.name} is ambient`, guessOf: "ambient" };

function whereOf({ namespace, isMeshWide, isCertain }: ZtunnelScope, binding: WaypointBinding | undefined): string {
  if (isMeshWide) return "For ambient workloads, only ztunnel enforces a policy without targetRefs";
  const shown = `Namespace ${namespace.metadata.name} ${isCertain ? "is ambient" : "may be ambient"}`;
  return isUsable(binding)
    ? `${shown} and this policy is not attached to its waypoint ${formatWaypoint(binding.named)}`
    : `${shown} and has no waypoint`;
}

function saidOf(left: ZtunnelRule, judged: Judged): Said {
  const { policy, scope, mesh } = judged;
  const shown = shownScope(policy, scope);
  const said = { key: `${left} ${scopeOf(policy)}`, fix: fixOf(left, judged) };
  if (left === "never")
    return {
      ...said,
      consequence: (attributes) => `at ztunnel the rule (${attributes}) never matches and denies nothing to ${shown}`,
    };
  if (left === "wider")
    return {
      ...said,
      consequence: (attributes) =>
        `ztunnel ignores ${attributes} in the rule, and allows its other callers of every trust domain to reach ${shown}`,
    };
  if (left === "part")
    return {
      ...said,
      consequence: (attributes) =>
        `ztunnel ignores ${attributes} in the rule, and denies ${shown} all requests that match the ports and identities`,
    };
  // What else is allowed differs between namespaces.
  const isAll = !scope.isMeshWide && !letsOthersIn(policy, scope, mesh);
  const denied = isAll ? "every request" : "the requests that only this rule allows";
  return {
    ...said,
    consequence: (attributes) => `ztunnel drops the rule (${attributes}) and denies ${denied} to ${shown}`,
  };
}

/** Whether some other rule, of this policy or another, allows anybody. */
function letsOthersIn(policy: AuthorizationPolicy, { namespace }: ZtunnelScope, mesh: View): boolean {
  const labels = policy.spec.selector?.matchLabels ?? {};
  return mesh
    .get(otherAllows, namespace)
    .some(({ wideAtZtunnel, groups }) => wideAtZtunnel.length > 0 || groups.selecting(labels).length > 0);
}

function shownScope({ metadata, spec }: AuthorizationPolicy, { isMeshWide }: ZtunnelScope): string {
  const labels = formatLabels(spec.selector?.matchLabels ?? {});
  if (labels === "" && isMeshWide) return "the ambient workloads of all namespaces";
  return labels === "" ? `the workloads of ${metadata.namespace}` : labels.replaceAll(", ", ",");
}

function fixOf(left: ZtunnelRule, { policy, scope, binding, mesh }: Judged): string {
  const attach = attachFix("this rule", scope, binding);
  if (scope.isMeshWide || left !== "dropped") return `${attach}, or use only ports and identities in it.`;
  const { name } = scope.namespace.metadata;
  const named = isUsable(binding) ? binding.named : { name: "waypoint", namespace: name };
  const identity = formatCaller(identityOfWaypoint(named, binding?.gateway), mesh.settings);
  return `${attach}, and allow the identity of the waypoint (${identity}) to reach ${shownScope(policy, scope)}.`;
}

function attachFix(what: string, scope: ZtunnelScope, binding: WaypointBinding | undefined): string {
  if (scope.isMeshWide) return `Attach ${what} to GatewayClass istio-waypoint with targetRefs`;
  if (isUsable(binding)) return `Attach ${what} to waypoint ${formatWaypoint(binding.named)} with targetRefs`;
  return `Create a waypoint for namespace ${scope.namespace.metadata.name} and attach ${what} to it with targetRefs`;
}
