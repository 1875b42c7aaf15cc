import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { principalProblem } from "../../mesh/principals.ts";

export const principalMalformed = defineRule({
  id: "authorization-policy-principal-malformed",
  subject: "AuthorizationPolicy",
  reads: [],
  mode: "warn",
  tags: ["authorization"],
  summary: "A principal that no identity can have, so that it names nobody.",
  why: "Identities are compared as text, without `spiffe://` (Istio pilot/pkg/security/authz/model/generator.go srcPrincipalGenerator): one that is written otherwise matches no caller. An ALLOW rule then lets nobody in, a DENY rule keeps nobody out, and `notPrincipals` excepts nobody.",
  fix: "Write `<trust domain>/ns/<namespace>/sa/<service account>`, for example cluster.local/ns/orders/sa/orders-api; a `*` may stand at one end.",

  *check({ spec }) {
    for (const [i, rule] of spec.rules.entries()) {
      const at = ["spec", "rules", i];
      for (const [j, { source }] of rule.from.entries()) {
        yield* malformed(source.principals, [...at, "from", j, "source", "principals"]);
        yield* malformed(source.notPrincipals, [...at, "from", j, "source", "notPrincipals"]);
      }
      for (const [j, { key, values, notValues }] of rule.when.entries()) {
        if (key !== "source.principal") continue;
        yield* malformed(values, [...at, "when", j, "values"]);
        yield* malformed(notValues, [...at, "when", j, "notValues"]);
      }
    }
  },
});

function* malformed(principals: readonly string[], at: Path): Iterable<Problem> {
  for (const [i, principal] of principals.entries()) {
    const problem = principalProblem(principal);
    if (problem !== undefined)
      yield { at: [...at, i], message: `Principal ${JSON.stringify(principal)} names nobody: ${problem}` };
  }
}
