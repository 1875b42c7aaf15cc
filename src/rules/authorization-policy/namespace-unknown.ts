import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import { type AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import { trustDomainsOf } from "../../mesh/authorization/requests/identities.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

type RuleOf = AuthorizationPolicy["spec"]["rules"][number];

/** A namespace that a rule names as the namespace of callers, and its path. */
interface NamedNamespace {
  readonly name: string;
  readonly at: readonly (string | number)[];
}

/** Where a rule names callers, and how a value names a namespace; undefined: it names none, or it is a pattern. */
type Naming = (value: string, settings: MeshSettings) => string | undefined;

const byName: Naming = (name) => (name === "" || name.includes("*") ? undefined : name);
/** Of an identity of this mesh. Namespaces of other trust domains are in other meshes, which are not known. */
const byIdentity: Naming = (principal, settings) => {
  const [trustDomain = "", ns, name, sa, account, ...more] = principal.split("/");
  if (ns !== "ns" || sa !== "sa" || name === undefined || !account || more.length > 0) return undefined;
  const isOwn =
    trustDomain === "*" || trustDomain === "cluster.local" || trustDomainsOf(settings).includes(trustDomain);
  return isOwn ? byName(name, settings) : undefined;
};
const byServiceAccount: Naming = (account, settings) => {
  const [name = "", ...rest] = account.split("/");
  return rest.length === 1 ? byName(name, settings) : undefined;
};

const fields = {
  namespaces: byName,
  notNamespaces: byName,
  principals: byIdentity,
  notPrincipals: byIdentity,
  serviceAccounts: byServiceAccount,
  notServiceAccounts: byServiceAccount,
} as const;
const keys: ReadonlyMap<string, Naming> = new Map([
  ["source.namespace", byName],
  ["source.principal", byIdentity],
  ["source.serviceAccount", byServiceAccount],
]);

/** The namespaces of callers in the rules of a policy, without patterns. */
const namespacesNamed = ({ spec }: AuthorizationPolicy, settings: MeshSettings): readonly NamedNamespace[] =>
  spec.rules.flatMap((rule, i) =>
    [...inSources(rule, i), ...inConditions(rule, i)].flatMap(({ value, naming, at }) => {
      const name = naming(value, settings);
      return name === undefined ? [] : [{ name, at }];
    }),
  );

interface NamedCaller {
  readonly value: string;
  readonly naming: Naming;
  readonly at: NamedNamespace["at"];
}

const inSources = ({ from }: RuleOf, i: number): readonly NamedCaller[] =>
  from.flatMap(({ source }, j) =>
    (Object.keys(fields) as (keyof typeof fields)[]).flatMap((field) =>
      source[field].map((value, k) => ({
        value,
        naming: fields[field],
        at: ["spec", "rules", i, "from", j, "source", field, k],
      })),
    ),
  );
const inConditions = ({ when }: RuleOf, i: number): readonly NamedCaller[] =>
  when.flatMap((condition, j) => {
    const naming = keys.get(condition.key);
    if (naming === undefined) return [];
    return (["values", "notValues"] as const).flatMap((field) =>
      condition[field].map((value, k) => ({ value, naming, at: ["spec", "rules", i, "when", j, field, k] })),
    );
  });

/** A policy and the namespaces that its rules name. */
const namespacesNamedByPolicy = relation(
  "namespacesNamedByPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    isServed(policy, settings) ? new Set(namespacesNamed(policy, settings).map(({ name }) => name)) : [],
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
  summary: "A rule names callers of a namespace that does not exist.",
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
    if (!isServed(policy, mesh.settings) || !mesh.knows("Namespace")) return;
    const known = new Set(mesh.related(namespacesNamedByPolicy, policy).map(({ metadata }) => metadata.name));
    // Files of applications do not have these, and a cluster with a mesh does.
    const elsewhere = mesh.knowsAll("Namespace") ? [] : [mesh.settings.rootNamespace, ...ofKubernetes];
    for (const { name, at } of namespacesNamed(policy, mesh.settings))
      if (!known.has(name) && !elsewhere.includes(name))
        yield {
          at,
          message: `Namespace ${JSON.stringify(name)} does not exist, so this entry matches no caller`,
          evidence: [absent("Namespace", "", name)],
        };
  },
});

/** The namespaces that the API server creates. */
const ofKubernetes: readonly string[] = ["default", "kube-system", "kube-public", "kube-node-lease"];
