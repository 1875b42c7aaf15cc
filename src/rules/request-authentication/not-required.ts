import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { index, relation } from "../../view/view.ts";

type RequestAuthentication = ObjectOf<"RequestAuthentication">;

/** Whether some rule of a policy checks the token of a request. */
function asksForToken(policy: AuthorizationPolicy): boolean {
  // The requirements of a CUSTOM provider are not known, and it is called before tokens are validated.
  if (actionOf(policy) === "CUSTOM") return false;
  return policy.spec.rules.some(
    ({ from, when }) =>
      from.some(({ source }) => source.requestPrincipals.length + source.notRequestPrincipals.length > 0) ||
      when.some(({ key }) => key.startsWith("request.auth.")),
  );
}

const everywhere = "*";

/**
 * A RequestAuthentication and the enforced policies that check tokens and may apply to the same workloads. One in the
 * root namespace applies to the whole mesh, and each namespace can require tokens itself.
 */
const tokenPoliciesOfRequestAuthentication = relation(
  "tokenPoliciesOfRequestAuthentication",
  index("RequestAuthentication", (authentication, settings) => {
    const { namespace } = authentication.metadata;
    if (!isServed(authentication, settings)) return [];
    return namespace === settings.rootNamespace ? [everywhere] : [namespace, settings.rootNamespace];
  }),
  index("AuthorizationPolicy", (policy, settings) =>
    isEnforced(policy, settings) && asksForToken(policy) ? [policy.metadata.namespace, everywhere] : [],
  ),
);

/** Whether both may apply to one workload, gateway or service. */
function mayMeet(authentication: RequestAuthentication, policy: AuthorizationPolicy): boolean {
  const own = targetsOf(authentication);
  const others = targetRefsOf(policy);
  if (own.length > 0 || others.length > 0)
    // Targets of different kinds can overlap, such as a Service behind a Gateway.
    return own.some(({ kind, name }) => others.some((other) => other.kind !== kind || other.name === name));
  const [labels, wanted] = [authentication.spec.selector?.matchLabels ?? {}, policy.spec.selector?.matchLabels ?? {}];
  const both = { ...labels, ...wanted };
  return selects(labels, both) && selects(wanted, both);
}

const targetsOf = ({ spec }: RequestAuthentication) =>
  spec.targetRefs.length === 0 && spec.targetRef !== undefined ? [spec.targetRef] : spec.targetRefs;

export const requestAuthenticationNotRequired = defineRule({
  id: "request-authentication-not-required",
  subject: "RequestAuthentication",
  reads: [tokenPoliciesOfRequestAuthentication],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "Tokens are validated if they are sent, but no policy requires one.",
  why: "A RequestAuthentication denies requests with an invalid token and accepts requests without a token (Istio pilot/pkg/security/authn/policy_applier.go JwtFilter, which allows missing tokens).",
  fix: 'Add an AuthorizationPolicy for the same workloads that requires a token: ALLOW from `requestPrincipals: ["*"]` (or one issuer\'s), or DENY from `notRequestPrincipals: ["*"]`.',

  *check(authentication, mesh) {
    const { metadata, spec } = authentication;
    if (spec.jwtRules.length === 0 || !isServed(authentication, mesh.settings)) return;
    const policies = mesh.related(tokenPoliciesOfRequestAuthentication, authentication);
    if (policies.some((policy) => mayMeet(authentication, policy))) return;
    yield {
      at: ["spec", "jwtRules"],
      message: "No policy requires a token here, so requests without one are accepted",
      evidence: [absent("AuthorizationPolicy", metadata.namespace)],
    };
  },
});
