import { fact } from "../../view/view.ts";
import { actionOf, type AuthorizationPolicy, targetRefsOf } from "./policies.ts";
import { policiesRead } from "./policy-levels.ts";

/** What the policies of a namespace need from the mesh config. Each value is one policy, as an example. */
export interface NeedsOfMeshConfig {
  /** A policy that compares paths. */
  readonly paths: AuthorizationPolicy | undefined;
  /** The trust domains in identities that policies keep out, as proxies and as ztunnel know them. */
  readonly keptOut: Readonly<Record<"proxies" | "ztunnel", ReadonlyMap<string, AuthorizationPolicy>>>;
  readonly providers: ReadonlyMap<string, AuthorizationPolicy>;
}

/** What the AuthorizationPolicies of a namespace itself need from the mesh config. */
export const needsOfMeshConfig = fact("needsOfMeshConfig", "Namespace", [policiesRead], (namespace, mesh) => {
  let paths: AuthorizationPolicy | undefined;
  const keptOut = { proxies: new Map<string, AuthorizationPolicy>(), ztunnel: new Map<string, AuthorizationPolicy>() };
  const providers = new Map<string, AuthorizationPolicy>();
  for (const policy of mesh.related(policiesRead, namespace)) {
    if (comparesPaths(policy)) paths ??= policy;
    for (const domain of domainsKeptOutByProxies(policy)) addFirst(keptOut.proxies, domain, policy);
    for (const domain of domainsKeptOutByZtunnel(policy)) addFirst(keptOut.ztunnel, domain, policy);
    const provider = actionOf(policy) === "CUSTOM" ? policy.spec.provider?.name : undefined;
    if (provider !== undefined) addFirst(providers, provider, policy);
  }
  return { paths, keptOut, providers } satisfies NeedsOfMeshConfig;
});

function addFirst<V>(map: Map<string, V>, key: string, value: V): void {
  if (!map.has(key)) map.set(key, value);
}

const comparesPaths = ({ spec }: AuthorizationPolicy): boolean =>
  spec.rules.some(({ to }) => to.some(({ operation: { paths, notPaths } }) => paths.length + notPaths.length > 0));

const denies = (policy: AuthorizationPolicy): boolean => actionOf(policy) === "DENY";

/**
 * The trust domains in identities that a policy denies, or that its ALLOW rules except. `cluster.local` stands for the
 * mesh's own, and `*` for all (Istio pilot/pkg/security/trustdomain/bundle.go ReplaceTrustDomainAliases).
 */
const domainsKeptOutByProxies = (policy: AuthorizationPolicy): readonly string[] =>
  [...domainsOfPrincipals(policy), ...trustDomainsKeptOut(policy)].filter((domain) => domain !== "cluster.local");

/**
 * ztunnel compares principals as they are written: `cluster.local` stands for itself alone, and trust domains of sources are left out
 * (Istio pilot/pkg/serviceregistry/ambient/authorization.go handleRule; zt:src/rbac.rs matches_principal).
 */
const domainsKeptOutByZtunnel = (policy: AuthorizationPolicy): readonly string[] =>
  targetRefsOf(policy).length > 0 ? [] : domainsOfPrincipals(policy);

const trustDomainsKeptOut = (policy: AuthorizationPolicy): readonly string[] =>
  [
    ...sourcesOf(policy).flatMap((source) => (denies(policy) ? source.trustDomains : source.notTrustDomains)),
    ...valuesKeptOut(policy, "source.trustDomain"),
  ].filter(isOne);

const domainsOfPrincipals = (policy: AuthorizationPolicy): readonly string[] =>
  [
    ...sourcesOf(policy).flatMap((source) => (denies(policy) ? source.principals : source.notPrincipals)),
    ...valuesKeptOut(policy, "source.principal"),
  ]
    .flatMap(domainOf)
    .filter(isOne);

const sourcesOf = ({ spec }: AuthorizationPolicy) => spec.rules.flatMap(({ from }) => from.map(({ source }) => source));

/** The values of a condition that a policy denies, or that its ALLOW rules except. */
const valuesKeptOut = (policy: AuthorizationPolicy, asked: string): readonly string[] =>
  policy.spec.rules
    .flatMap(({ when }) => when.filter(({ key }) => key === asked))
    .flatMap(({ values, notValues }) => (denies(policy) ? values : notValues));

const domainOf = (principal: string): readonly string[] => {
  const parts = principal.split("/");
  return parts.length === 5 ? parts.slice(0, 1) : [];
};
const isOne = (domain: string): boolean => !domain.includes("*");
