import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { callersNamed, type NamedCaller, namespacesNamedByPolicy } from "../../mesh/authorization/named-callers.ts";

export const authorizationPolicyNamespaceUnknown = defineRule({
  id: "authorization-policy-namespace-unknown",
  subject: "AuthorizationPolicy",
  reads: [namespacesNamedByPolicy],
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
    const callers = callersNamed(policy, mesh.settings).filter(({ isHere }) => !isHere);
    // Files of applications do not have these, and a cluster with a mesh does.
    const elsewhere = mesh.knowsAll("Namespace") ? [] : [mesh.settings.rootNamespace, ...ofKubernetes];
    const related = mesh.related(namespacesNamedByPolicy, policy).map(({ metadata }) => metadata.name);
    const known = new KnownNames([...related, ...elsewhere], callers);
    for (const { namespace: name, at } of callers)
      if (!known.has(name))
        yield isPattern(name)
          ? {
              at,
              message: `No namespace has a name like ${JSON.stringify(name)}, so this entry matches no caller`,
              evidence: [absent("Namespace", "")],
            }
          : {
              at,
              message: `Namespace ${JSON.stringify(name)} does not exist, so this entry matches no caller`,
              evidence: [absent("Namespace", "", name)],
            };
  },
});

const isPattern = (name: string): boolean => name.includes("*");

/** Names of namespaces, with their beginnings and ends, as far as a policy has patterns of that length. */
class KnownNames {
  readonly #names: Set<string>;

  constructor(names: readonly string[], callers: readonly NamedCaller[]) {
    this.#names = new Set(names);
    const patterns = callers.map(({ namespace }) => namespace).filter(isPattern);
    for (const [length, ofLength] of Map.groupBy(patterns, (pattern) => pattern.length - 1)) {
      const [isEnd, isStart] = [ofLength.some(endsName), !ofLength.every(endsName)];
      for (const name of names) {
        if (name.length < length) continue;
        if (isStart) this.#names.add(`${name.slice(0, length)}*`);
        if (isEnd) this.#names.add(`*${name.slice(-length)}`);
      }
    }
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }
}

const endsName = (pattern: string): boolean => pattern.startsWith("*");

/** The namespaces that the API server creates. */
const ofKubernetes: readonly string[] = ["default", "kube-system", "kube-public", "kube-node-lease"];
