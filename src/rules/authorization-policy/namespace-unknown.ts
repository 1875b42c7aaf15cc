import { defineRule } from "../../engine/rule.ts";
import { absent } from "../../kube/kinds.ts";
import { namespacesNamed, namespacesNamedByPolicy } from "../../mesh/policy-references.ts";
import { isServed } from "../../mesh/objects/revision.ts";

export const namespaceUnknown = defineRule({
  id: "authorization-policy-namespace-unknown",
  subject: "AuthorizationPolicy",
  reads: [namespacesNamedByPolicy],
  mode: "warn",
  tags: ["authorization"],
  summary: "A rule names a namespace that is not there.",
  why: "A caller's namespace is compared as text with the one in its identity (Istio pilot/pkg/security/authz/model/generator.go srcNamespaceGenerator): no caller is in this one, so the rule matches nobody, and `notNamespaces` excepts nobody.",
  fix: "Correct the name, or create the namespace first; a `*` may stand at one end.",

  *check(policy, mesh) {
    if (!isServed(policy, mesh.settings)) return;
    const known = new Set(mesh.related(namespacesNamedByPolicy, policy).map(({ metadata }) => metadata.name));
    for (const { name, at } of namespacesNamed(policy))
      if (!known.has(name))
        yield {
          at,
          message: `There is no namespace ${JSON.stringify(name)}`,
          restsOn: [absent("Namespace", "", name)],
        };
  },
});
