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
  summary: "One rule has the callers and the next has the operations, where one rule with both was probably intended.",
  why: "Rules are alternatives, and all parts of one rule must match (Istio pilot/pkg/security/authz/model/model.go New). As two list items, `- from` allows these callers every operation, and `- to` allows every caller these operations.",
  fix: "Remove the dash before `to` (or `when`), so that it belongs to the rule with `from`. If every caller may use these operations, write that rule before the one with `from`.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Callers that the policy does not name get answers for these operations, and those that it names may do more than was meant.",
    wayOut: "Apply the previous version, or join the two list items into one rule.",
    silentWhen:
      "The policy has action DENY, the conditions of the second rule are about callers (source, request.auth, the header authorization, a header that is not there), or its operations are usually public, such as health checks.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy) {
    const { rules } = policy.spec;
    if (actionOf(policy) !== "ALLOW") return;
    for (const [i, rule] of rules.entries()) {
      const before = rules[i - 1];
      if (before === undefined || !isOnlyFrom(before) || rule.from.length > 0 || isOpenToAll(rule)) continue;
      const what = rule.to.length > 0 ? "to" : "when";
      yield {
        at: ["spec", "rules", i],
        message: `This rule has ${what} and no from, so it allows every caller, and the from of the previous rule allows its callers every operation`,
      };
    }
  },
});

const isOnlyFrom = ({ from, to, when }: Rule): boolean => from.length > 0 && to.length === 0 && when.length === 0;

/**
 * Whether the rule has callers of its own in its conditions, restricts nothing (see authorization-policy-allows-everyone), or
 * allows only operations that are usually public.
 */
const isOpenToAll = ({ to, when }: Rule): boolean =>
  (to.length === 0 && when.length === 0) ||
  when.some(({ key, notValues }) => isAboutCallers.test(key) || (isHeader(key) && notValues.includes("*"))) ||
  (when.length === 0 && to.length > 0 && to.every(({ operation }) => isPublic(operation.paths)));

/** That a header is missing tells callers apart: a gateway sets it for users, and calls inside the mesh have none. */
const isHeader = (key: string): boolean => /^request\.headers\[/i.test(key);

/** A token in the header may be checked by the application. */
const isAboutCallers = /^(?:source\.|remote\.ip$|request\.auth\.|request\.headers\[authorization\]$)/i;

const publicPath =
  /^\/(?:\.well-known|favicon\.ico|robots\.txt|(?:[\w-]+\/)*(?:health|healthz?|healthcheck|liveness|livez?|metrics|ping|readiness|readyz?|started|status|version))(?:[/*].*)?$/i;
const isPublic = (paths: readonly string[]): boolean =>
  paths.length > 0 && paths.every((path) => publicPath.test(path));
