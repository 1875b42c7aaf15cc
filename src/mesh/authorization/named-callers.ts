import type { AnyObject } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import type { AuthorizationPolicy } from "./policies.ts";
import { trustDomainsOf } from "./requests/identities.ts";

type RuleOf = AuthorizationPolicy["spec"]["rules"][number];

/** A caller of this mesh that a rule names: a namespace, or a service account of it. */
export interface NamedCaller {
  readonly namespace: string;
  /** Undefined: any one of the namespace. */
  readonly account: string | undefined;
  /** Whether the namespace is that of the policy, because the value names none. */
  readonly isHere: boolean;
  /** The path of the value. */
  readonly at: readonly (string | number)[];
}

/** What a value names; undefined: nothing of this mesh, or it is a pattern. */
type Naming = (value: string, policyNamespace: string, settings: MeshSettings) => Omit<NamedCaller, "at"> | undefined;

const isName = (text: string | undefined): text is string => text !== undefined && text !== "" && !text.includes("*");

const byName: Naming = (namespace) =>
  isName(namespace) ? { namespace, account: undefined, isHere: false } : undefined;
/** Of an identity of this mesh. Namespaces of other trust domains are in other meshes, which are not known. */
const byIdentity: Naming = (principal, _, settings) => {
  const [trustDomain = "", ns, namespace, sa, account, ...more] = principal.split("/");
  if (ns !== "ns" || sa !== "sa" || !isName(namespace) || !account || more.length > 0) return undefined;
  if (!isOwn(trustDomain, settings)) return undefined;
  return { namespace, account: isName(account) ? account : undefined, isHere: false };
};
const isOwn = (trustDomain: string, settings: MeshSettings): boolean =>
  trustDomain === "*" || trustDomain === "cluster.local" || trustDomainsOf(settings).includes(trustDomain);
const byServiceAccount: Naming = (value, policyNamespace) => {
  const [first, account, ...more] = value.split("/");
  if (more.length > 0 || !isName(first)) return undefined;
  if (account === undefined) return { namespace: policyNamespace, account: first, isHere: true };
  return { namespace: first, account: isName(account) ? account : undefined, isHere: false };
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

/** The callers in the rules of a policy, without patterns, if a control plane reads it. */
export const callersNamed = (policy: AuthorizationPolicy, settings: MeshSettings): readonly NamedCaller[] =>
  isServed(policy, settings)
    ? policy.spec.rules.flatMap((rule, i) =>
        [...inSources(rule, i), ...inConditions(rule, i)].flatMap(({ value, naming, at }) => {
          const named = naming(value, policy.metadata.namespace, settings);
          return named === undefined ? [] : [{ ...named, at }];
        }),
      )
    : [];

interface Written {
  readonly value: string;
  readonly naming: Naming;
  readonly at: NamedCaller["at"];
}

const inSources = ({ from }: RuleOf, i: number): readonly Written[] =>
  from.flatMap(({ source }, j) =>
    (Object.keys(fields) as (keyof typeof fields)[]).flatMap((field) =>
      source[field].map((value, k) => ({
        value,
        naming: fields[field],
        at: ["spec", "rules", i, "from", j, "source", field, k],
      })),
    ),
  );
const inConditions = ({ when }: RuleOf, i: number): readonly Written[] =>
  when.flatMap((condition, j) => {
    const naming = keys.get(condition.key);
    if (naming === undefined) return [];
    return (["values", "notValues"] as const).flatMap((field) =>
      condition[field].map((value, k) => ({ value, naming, at: ["spec", "rules", i, "when", j, field, k] })),
    );
  });

const identityConditions = new Set(["source.principal", "source.trustDomain"]);
/** Whether an object is a policy whose rules say whom they mean by an identity, which contains the trust domain. */
export const isNamedByTrustDomain = (object: AnyObject): boolean =>
  object.kind === "AuthorizationPolicy" &&
  object.spec.rules.some(
    ({ from, when }) =>
      when.some(({ key }) => identityConditions.has(key)) ||
      from.some(({ source }) =>
        [source.principals, source.notPrincipals, source.trustDomains, source.notTrustDomains].some(
          (values) => values.length > 0,
        ),
      ),
  );

/** A policy and the namespaces that its rules name. */
export const namespacesNamedByPolicy = relation(
  "namespacesNamedByPolicy",
  index(
    "AuthorizationPolicy",
    (policy, settings) =>
      new Set(callersNamed(policy, settings).flatMap(({ namespace, isHere }) => (isHere ? [] : namespace))),
  ),
  index("Namespace", ({ metadata }) => [metadata.name]),
);
