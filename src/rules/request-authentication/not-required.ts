import { defineRule } from "../../engine/rule.ts";
import { absent } from "../../kube/kinds.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { mayMeet, tokenPoliciesOfRequestAuthentication } from "../../mesh/token-demands.ts";

export const notRequired = defineRule({
  id: "request-authentication-not-required",
  subject: "RequestAuthentication",
  reads: [tokenPoliciesOfRequestAuthentication],
  mode: "warn",
  tags: ["authorization"],
  summary: "Tokens are checked where there are any, and no policy demands one.",
  why: "A RequestAuthentication refuses a token that is wrong; a request without any passes (Istio pilot/pkg/security/authn/policy_applier.go JwtFilter, which allows missing tokens).",
  fix: 'Add an AuthorizationPolicy for the same workloads that demands a token: ALLOW from `requestPrincipals: ["*"]` (or one issuer\'s), or DENY from `notRequestPrincipals: ["*"]`.',

  *check(authentication, mesh) {
    const { metadata, spec } = authentication;
    if (spec.jwtRules.length === 0 || !isServed(authentication, mesh.settings)) return;
    const policies = mesh.related(tokenPoliciesOfRequestAuthentication, authentication);
    if (policies.some((policy) => mayMeet(authentication, policy))) return;
    yield {
      at: ["spec", "jwtRules"],
      message: "No policy demands a token here: requests without one pass",
      restsOn: [absent("AuthorizationPolicy", metadata.namespace)],
    };
  },
});
