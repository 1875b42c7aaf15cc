import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { actionOf } from "../../mesh/authorization/policies.ts";

type Rule = ObjectOf<"AuthorizationPolicy">["spec"]["rules"][number];

export const authorizationPolicyRulesSplit = defineRule({
  id: "authorization-policy-rules-split",
  subject: "AuthorizationPolicy",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "Callers in one rule and operations in the next, where one rule with both was meant.",
  why: "Rules are alternatives, and what stands in one rule must hold together (Istio pilot/pkg/security/authz/model/model.go New): as two list items, `- from` lets these callers do everything, and `- to` lets everyone do these things.",
  fix: "Take the dash before `to` (or `when`) away, so that it stands in the rule of its `from`. If everyone may do these things, write that rule first, apart from the one with `from`.",

  *check(policy) {
    const { rules } = policy.spec;
    if (actionOf(policy) !== "ALLOW") return;
    for (const [i, rule] of rules.entries()) {
      const before = rules[i - 1];
      if (before === undefined || !isOnlyFrom(before) || rule.from.length > 0 || isOpenToAll(rule)) continue;
      const what = rule.to.length > 0 ? "to" : "when";
      yield {
        at: ["spec", "rules", i],
        message: `This rule has ${what} and no from: it lets every caller in, and the from of the rule before lets its callers do everything`,
      };
    }
  },
});

const isOnlyFrom = ({ from, to, when }: Rule): boolean => from.length > 0 && to.length === 0 && when.length === 0;

/** Restricts nothing (authorization-policy-allows-everyone), or opens just what is usually open to all. */
const isOpenToAll = ({ to, when }: Rule): boolean =>
  (to.length === 0 && when.length === 0) ||
  (when.length === 0 && to.length > 0 && to.every(({ operation }) => isPublic(operation.paths)));

const publicPath =
  /^\/(?:\.well-known|favicon\.ico|robots\.txt|(?:[\w-]+\/)*(?:health|healthz?|healthcheck|liveness|livez?|metrics|ping|readiness|readyz?|started|status|version))(?:[/*].*)?$/i;
const isPublic = (paths: readonly string[]): boolean =>
  paths.length > 0 && paths.every((path) => publicPath.test(path));
