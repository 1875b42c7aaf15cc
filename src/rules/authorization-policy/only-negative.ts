import { defineRule, type RuleSide } from "../../engine/rule.ts";
import { actionOf, type AuthorizationPolicy, isEnforced } from "../../mesh/authorization/policies.ts";
import { proxiesOfNamespace } from "../../mesh/authorization/proxy-attachments.ts";
import { policyScope } from "../../mesh/authorization/proxy-scope.ts";
import { needsMoreThanZtunnel } from "../../mesh/authorization/ztunnel-rules.ts";
import { scopeBeyondZtunnel } from "../../mesh/waypoints/ztunnel-scope.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];
const reads = [scopeBeyondZtunnel, proxiesOfNamespace] as const;

export const authorizationPolicyOnlyNegative = defineRule({
  id: "authorization-policy-only-negative",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["Workload", "KubernetesGateway"],
  // Rules about namespaces report what a policy opens when proxies come.
  onlyOwnChanges: true,
  // In protected namespaces, authorization-policy-allows-everyone reports what such a rule opens.
  mode: { protected: "off", elsewhere: "warn" },
  since: "0.1.0",
  tags: ["authorization"],
  summary: "A rule of an ALLOW policy has only negative values, so it allows everything else, to everyone.",
  why: "A negative value such as `notPaths` only narrows the rule that it is in. A rule that requires nothing matches every other request, and one rule that matches allows a request, whatever other ALLOW policies of the workload say (Istio pilot/pkg/security/authz/model/model.go New). Usually a DENY policy was meant.",
  fix: "To forbid what is listed, write a policy with action DENY and the positive values (`paths` instead of `notPaths`). To allow only some callers, name them in `from`.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Callers that no policy names get answers for everything that the rule does not list.",
    wayOut: "Apply the previous version, or delete the rule: what the other ALLOW policies allow stays allowed.",
    silentWhen:
      "A rule that also requires something, such as principals; a rule with HTTP attributes or trust domains that only ztunnel gets, of which authorization-policy-not-enforced-l7 says what ztunnel makes of it; and in protected namespaces, where authorization-policy-allows-everyone reports the rule if it opens them.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    if (actionOf(policy) !== "ALLOW" || !isEnforced(policy, mesh.settings)) return;
    const isForZtunnel = isOnlyForZtunnel(policy, mesh);
    for (const [i, rule] of policy.spec.rules.entries()) {
      const excluded = requiresSomething(rule) ? [] : exclusionsOf(rule);
      if (excluded.length === 0 || (isForZtunnel && needsMoreThanZtunnel(rule))) continue;
      yield {
        at: ["spec", "rules", i],
        message: `This rule allows everything except ${formatExclusions(excluded)}, to everyone else`,
        key: excluded.flatMap(({ names }) => names).join(" "),
      };
    }
  },
});

/** Whether no proxy is known to enforce the policy. ztunnel drops its rules with HTTP attributes, so that they allow nobody. */
function isOnlyForZtunnel(
  policy: AuthorizationPolicy,
  mesh: RuleSide<"AuthorizationPolicy", (typeof reads)[number]>["mesh"],
): boolean {
  const scope = mesh.get(scopeBeyondZtunnel, policy);
  if (scope === undefined || scope.isMeshWide || !scope.isCertain) return false;
  const proxies = mesh.get(proxiesOfNamespace, scope.namespace);
  return proxies.reachOf(policy, policyScope(policy.spec, policy.metadata.namespace)) !== "sure";
}

type Values = Readonly<Record<string, readonly string[]>>;
const namesWithValues = (values: Values): readonly string[] =>
  Object.keys(values).filter((name) => (values[name]?.length ?? 0) > 0);
const isNegative = (name: string): boolean => name.startsWith("not");

/** Those of some sources or operations without a value that a request must have. One that matches is enough. */
const openOnes = (all: readonly Values[]): readonly (readonly string[])[] =>
  all.map(namesWithValues).filter((names) => names.every(isNegative));

/** Every source, or every operation, or some condition, has a value that a request must have. */
const requiresSomething = ({ from, to, when }: Rule): boolean =>
  [from.map(({ source }) => source), to.map(({ operation }) => operation)].some(
    (all) => all.length > 0 && openOnes(all).length === 0,
  ) || when.some(({ values }) => values.length > 0);

/** Fields whose values a rule excludes; with several sources or operations, it excludes only what each of them does. */
interface Exclusion {
  readonly names: readonly string[];
  readonly byEach: "source" | "operation" | undefined;
}

const exclusionsOf = ({ from, to, when }: Rule): readonly Exclusion[] => [
  ...exclusionsOfPart(
    from.map(({ source }) => source),
    "source",
  ),
  ...exclusionsOfPart(
    to.map(({ operation }) => operation),
    "operation",
  ),
  ...when
    .filter(({ notValues }) => notValues.length > 0)
    .map(({ key }) => ({ names: [`notValues of ${key}`], byEach: undefined })),
];

/** What has a positive value besides only adds to what the others let through. */
function exclusionsOfPart(all: readonly Values[], what: "source" | "operation"): readonly Exclusion[] {
  const open = openOnes(all);
  if (open.length === 0 || open.some((names) => names.length === 0)) return [];
  return [{ names: [...new Set(open.flat())], byEach: open.length > 1 ? what : undefined }];
}

function formatExclusions(excluded: readonly Exclusion[]): string {
  const single = new Set(excluded.flatMap(({ names, byEach }) => (byEach === undefined ? names : [])));
  const listed = single.size === 0 ? [] : [`what ${[...single].join(" and ")} ${single.size > 1 ? "list" : "lists"}`];
  const byEach = excluded.flatMap(({ names, byEach: what }) =>
    what === undefined ? [] : [`what every ${what} with only ${names.join(" and ")} excludes`],
  );
  return [...listed, ...byEach].join(" and ");
}
