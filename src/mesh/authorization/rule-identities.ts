import type { AuthorizationPolicy } from "./policies.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];

const identities = ["principals", "namespaces", "serviceAccounts", "trustDomains"] as const;
const identityKeys: ReadonlySet<string> = new Set([
  "source.principal",
  "source.namespace",
  "source.serviceAccount",
  "source.trustDomain",
]);

/** Whether a request must have an identity to match the rule. */
export function namesIdentities({ from, when }: Rule): boolean {
  const inFrom = from.length > 0 && from.every(({ source }) => identities.some((field) => source[field].length > 0));
  return inFrom || when.some(({ key, values }) => identityKeys.has(key) && values.length > 0);
}

const excluded = ["notPrincipals", "notNamespaces", "notServiceAccounts", "notTrustDomains"] as const;

/**
 * Whether the rule leaves out some callers by their identity, and matches requests without one: the reverse of an absent identity is true
 * (Istio pilot/pkg/security/authz/model/generator.go, Envoy's `not_id`).
 */
export function sparesByIdentity(rule: Rule): boolean {
  if (namesIdentities(rule)) return false;
  const { from, when } = rule;
  const isExcluding = ({ source }: Rule["from"][number]) => excluded.some((field) => source[field].length > 0);
  const isNaming = ({ source }: Rule["from"][number]) => identities.some((field) => source[field].length > 0);
  const sources = from.filter((one) => !isNaming(one));
  return (
    (sources.length > 0 && sources.every(isExcluding)) ||
    when.some(({ key, notValues }) => identityKeys.has(key) && notValues.length > 0)
  );
}

/**
 * Whether the rule matches every request without an identity: it leaves out some callers by theirs, and has no other condition.
 */
export function matchesAllUnnamed(rule: Rule): boolean {
  const { from, to, when } = rule;
  if (!sparesByIdentity(rule)) return false;
  const isFree = ({ operation }: Rule["to"][number]) => !Object.values(operation).some(isSet);
  const isOfIdentity = ({ source }: Rule["from"][number]) =>
    Object.entries(source).every(([field, values]) => excludedFields.has(field) || !isSet(values));
  return (
    (to.length === 0 || to.some(isFree)) &&
    (from.length === 0 || from.some(isOfIdentity)) &&
    when.every(({ key, values }) => identityKeys.has(key) && values.length === 0)
  );
}
const excludedFields: ReadonlySet<string> = new Set(excluded);
const isSet = (values: unknown): boolean => (Array.isArray(values) ? values.length > 0 : Boolean(values));
