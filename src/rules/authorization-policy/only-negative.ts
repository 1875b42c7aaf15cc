import { defineRule } from "../../engine/rule.ts";
import { actionOf, type AuthorizationPolicy, isEnforced } from "../../mesh/authorization/policies.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];

export const authorizationPolicyOnlyNegative = defineRule({
  id: "authorization-policy-only-negative",
  subject: "AuthorizationPolicy",
  reads: [],
  // In protected namespaces, authorization-policy-allows-everyone reports what such a rule opens.
  mode: { protected: "off", elsewhere: "warn" },
  since: "0.1.0",
  tags: ["authorization"],
  summary: "A rule of an ALLOW policy has only negative values, so it allows everything else, to everyone.",
  why: "A negative value such as `notPaths` only narrows the rule that it is in. A rule that requires nothing matches every other request, and one rule that matches allows a request, whatever other policies of the workload say (Istio pilot/pkg/security/authz/model/model.go New). Usually a DENY policy was meant.",
  fix: "To forbid what is listed, write a policy with action DENY and the positive values (`paths` instead of `notPaths`). To allow only some callers, name them in `from`.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Callers that no policy names get answers for everything that the rule does not list.",
    wayOut: "Apply the previous version, or delete the rule: what the other ALLOW policies allow stays allowed.",
    silentWhen:
      "A rule that also requires something, such as principals; and in protected namespaces, where authorization-policy-allows-everyone reports the rule if it opens them.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, { settings }) {
    if (actionOf(policy) !== "ALLOW" || !isEnforced(policy, settings)) return;
    for (const [i, rule] of policy.spec.rules.entries()) {
      const negative = negativesOf(rule);
      if (negative.length === 0 || requiresSomething(rule)) continue;
      yield {
        at: ["spec", "rules", i],
        message: `This rule allows everything except what ${negative.join(" and ")} ${negative.length > 1 ? "list" : "lists"}, to everyone else`,
        key: negative.join(" "),
      };
    }
  },
});

type Values = Readonly<Record<string, readonly string[]>>;
const namesWithValues = (values: Values): readonly string[] =>
  Object.keys(values).filter((name) => (values[name]?.length ?? 0) > 0);
const isNegative = (name: string): boolean => name.startsWith("not");

/** Every source, or every operation, or some condition, has a value that a request must have. */
const requiresSomething = ({ from, to, when }: Rule): boolean =>
  [from.map(({ source }) => source), to.map(({ operation }) => operation)].some(
    (all) => all.length > 0 && all.every((one) => namesWithValues(one).some((name) => !isNegative(name))),
  ) || when.some(({ values }) => values.length > 0);

const negativesOf = ({ from, to, when }: Rule): readonly string[] => [
  ...new Set([
    ...[...from.map(({ source }) => source), ...to.map(({ operation }) => operation)].flatMap((one) =>
      namesWithValues(one).filter(isNegative),
    ),
    ...when.filter(({ notValues }) => notValues.length > 0).map(({ key }) => `notValues of ${key}`),
  ]),
];
