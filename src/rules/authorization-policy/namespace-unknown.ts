import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { type AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { index, relation } from "../../view/view.ts";

type RuleOf = AuthorizationPolicy["spec"]["rules"][number];

/** A namespace that a rule names as the namespace of callers, and its path. */
interface NamedNamespace {
  readonly name: string;
  readonly at: readonly (string | number)[];
}

/** The namespaces of callers in the rules of a policy, without patterns (a `*` at either end). */
function namespacesNamed({ spec }: AuthorizationPolicy): readonly NamedNamespace[] {
  return spec.rules
    .flatMap((rule, i) => [...inSources(rule, i), ...inConditions(rule, i)])
    .filter(({ name }) => isExact(name));
}
const isExact = (name: string): boolean => name !== "" && !name.includes("*");

const inSources = ({ from }: RuleOf, i: number): readonly NamedNamespace[] =>
  from.flatMap(({ source }, j) =>
    (["namespaces", "notNamespaces"] as const).flatMap((field) =>
      source[field].map((name, k) => ({ name, at: ["spec", "rules", i, "from", j, "source", field, k] })),
    ),
  );
const inConditions = ({ when }: RuleOf, i: number): readonly NamedNamespace[] =>
  when.flatMap((condition, j) =>
    condition.key !== "source.namespace"
      ? []
      : (["values", "notValues"] as const).flatMap((field) =>
          condition[field].map((name, k) => ({ name, at: ["spec", "rules", i, "when", j, field, k] })),
        ),
  );

/** A policy and the namespaces that its rules name. */
const namespacesNamedByPolicy = relation(
  "namespacesNamedByPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    isServed(policy, settings) ? new Set(namespacesNamed(policy).map(({ name }) => name)) : [],
  ),
  index("Namespace", ({ metadata }) => [metadata.name]),
);

export const authorizationPolicyNamespaceUnknown = defineRule({
  id: "authorization-policy-namespace-unknown",
  subject: "AuthorizationPolicy",
  reads: [namespacesNamedByPolicy],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "A rule names a namespace that does not exist.",
  why: "A caller's namespace is compared as text with the one in its identity (Istio pilot/pkg/security/authz/model/generator.go srcNamespaceGenerator): no caller has this one, so the rule matches nobody, and `notNamespaces` excludes nobody.",
  fix: "Correct the name, or create the namespace first. A `*` is allowed at one end.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "With an ALLOW rule, the callers that were meant get 403. With a DENY rule or with notNamespaces, callers that should be denied or excluded are not.",
    wayOut:
      "Correct the name in the policy. The namespace with the intended name exists already, or its workloads could not call either.",
    silentWhen:
      "The Namespaces of the mesh are not known, or the entry is a pattern that an existing namespace matches.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    // Where no Namespaces are known, those that other objects mention are only some of them.
    if (!isServed(policy, mesh.settings) || !mesh.knows("Namespace")) return;
    const known = new Set(mesh.related(namespacesNamedByPolicy, policy).map(({ metadata }) => metadata.name));
    for (const { name, at } of namespacesNamed(policy))
      if (!known.has(name))
        yield {
          at,
          message: `Namespace ${JSON.stringify(name)} does not exist, so this entry matches no caller`,
          evidence: [absent("Namespace", "", name)],
        };
  },
});
