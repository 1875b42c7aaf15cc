import { absentHere } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { callersNamed, isNamespaceThere, namespaceReads } from "../../mesh/authorization/named-callers.ts";
import { namespacesNotShown } from "../../mesh/membership/namespaces.ts";

export const authorizationPolicyNamespaceUnknown = defineRule({
  id: "authorization-policy-namespace-unknown",
  subject: "AuthorizationPolicy",
  reads: namespaceReads,
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "A rule names callers of a namespace that does not exist, or of namespaces by a pattern that none matches.",
  why: "Namespaces, principals and service accounts are compared as text with the caller's identity (Istio pilot/pkg/security/authz/model/generator.go): no caller has one of a namespace that does not exist, so the rule matches nobody, and `notNamespaces` excludes nobody. Principals of other trust domains belong to other meshes and are not checked.",
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
    if (!mesh.knows("Namespace")) return;
    const elsewhere = namespacesNotShown(mesh);
    for (const { namespace: name, isHere, at } of callersNamed(policy, mesh.settings))
      if (!isHere && !elsewhere.some((one) => isLike(name, one)) && !isNamespaceThere(name, mesh))
        yield isPattern(name)
          ? {
              at,
              message: `No namespace has a name like ${JSON.stringify(name)}, so this entry matches no caller`,
              evidence: [absentHere("Namespace", "")],
            }
          : {
              at,
              message: `Namespace ${JSON.stringify(name)} does not exist, so this entry matches no caller`,
              evidence: [absentHere("Namespace", "", name)],
            };
  },
});

const isPattern = (name: string): boolean => name.includes("*");

const isLike = (named: string, name: string): boolean => {
  if (named.startsWith("*")) return name.endsWith(named.slice(1));
  return isPattern(named) ? name.startsWith(named.slice(0, -1)) : name === named;
};
