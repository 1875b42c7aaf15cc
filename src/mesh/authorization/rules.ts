import type { ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";

type Rule = ObjectOf<"AuthorizationPolicy">["spec"]["rules"][number];
type Source = Rule["from"][number]["source"];
type Operation = Rule["to"][number]["operation"];
type Condition = Rule["when"][number];

/** The component that enforces policies: Envoy (sidecar, gateway, waypoint), or ztunnel, which does not parse HTTP. */
export type Enforcer = "proxy" | "ztunnel";
export const enforcers: readonly Enforcer[] = ["proxy", "ztunnel"];

/**
 * The requests that a rule matches.
 * - `everyone`: every request of every caller.
 * - `authenticated`: every request over mTLS.
 * - `some`: fewer requests, perhaps none.
 */
export type Reach = "everyone" | "authenticated" | "some";

const widths = { some: 0, authenticated: 1, everyone: 2 } as const;
export const widest = (reaches: readonly Reach[]): Reach =>
  reaches.reduce((a, b) => (widths[a] > widths[b] ? a : b), "some");
const narrowest = (reaches: readonly Reach[]): Reach =>
  reaches.reduce((a, b) => (widths[a] < widths[b] ? a : b), "everyone");

/**
 * The requests that a rule matches at Envoy (Istio pilot/pkg/security/authz/model/model.go New) or at ztunnel
 * (pilot/pkg/serviceregistry/ambient/authorization.go handleRule). `from`, `to` and `when` must all match, one element
 * of `from` and of `to` is enough, and an empty list restricts nothing. ztunnel drops an ALLOW rule with HTTP
 * attributes, and the remaining part of such a DENY rule never matches everything.
 */
export function ruleReach(rule: Rule, enforcer: Enforcer, { trustDomain }: MeshSettings): Reach {
  const { from, to, when } = rule;
  if (enforcer === "ztunnel") {
    // ztunnel skips an element without attributes that it supports, so an operation without ports matches nothing.
    if (to.length > 0 || asksForHttp(rule)) return "some";
  } else if (to.length > 0 && !to.some(({ operation }) => isAnyOperation(operation))) return "some";
  const sources = from.map(({ source }) => sourceReach(source, enforcer, trustDomain));
  const callers = from.length === 0 ? "everyone" : widest(sources);
  return narrowest([callers, ...when.map((condition) => conditionReach(condition, enforcer, trustDomain))]);
}

/** Whether a rule has attributes that ztunnel does not support. */
export function asksForHttp({ from, to, when }: Rule): boolean {
  return (
    to.some(({ operation }) => httpFields.some((field) => operation[field].length > 0)) ||
    from.some(({ source }) => httpSources.some((field) => source[field].length > 0)) ||
    when.some(({ key }) => !ztunnelConditions.has(key))
  );
}

export const httpFields = ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"] as const;
export const httpSources = [
  "remoteIpBlocks",
  "notRemoteIpBlocks",
  "requestPrincipals",
  "notRequestPrincipals",
] as const;
export const ztunnelConditions: ReadonlySet<string> = new Set([
  "source.ip",
  "source.namespace",
  "source.principal",
  "destination.ip",
  "destination.port",
]);

const operationLimits = ["ports", "notPorts", "notHosts", "notMethods", "notPaths"] as const;
const anyPath: ReadonlySet<string> = new Set(["*", "/*", "/{**}"]);

/** Whether every HTTP request matches: `*` requires only that the value exists (authz/matcher/string.go, header.go). */
const isAnyOperation = (operation: Operation): boolean =>
  operationLimits.every((field) => operation[field].length === 0) &&
  isAny(operation.hosts, "*") &&
  isAny(operation.methods, "*") &&
  (operation.paths.length === 0 || operation.paths.some((path) => anyPath.has(path)));

const isAny = (values: readonly string[], wildcard: string): boolean =>
  values.length === 0 || values.includes(wildcard);

const sourceLimits = [
  "notPrincipals",
  "requestPrincipals",
  "notRequestPrincipals",
  "notNamespaces",
  "serviceAccounts",
  "notServiceAccounts",
  "notTrustDomains",
  "notIpBlocks",
  "notRemoteIpBlocks",
] as const;

/** All fields of one source must match. ztunnel ignores trust domains, and skips a source without supported fields. */
function sourceReach(source: Source, enforcer: Enforcer, trustDomain: string): Reach {
  const { principals, namespaces, trustDomains, ipBlocks, remoteIpBlocks } = source;
  if (enforcer === "ztunnel" && principals.length + namespaces.length + ipBlocks.length === 0) return "some";
  const seen = enforcer === "ztunnel" ? [] : trustDomains;
  const isLimited = sourceLimits.some((field) => source[field].length > 0 && !isIgnored(field, enforcer));
  if (isLimited) return "some";
  return narrowest([
    identityReach(principals, (principal) => isAnyPrincipal(principal, trustDomain)),
    identityReach(namespaces, (namespace) => namespace === "*"),
    identityReach(seen, (domain) => domain === "*" || isOwnTrustDomain(domain, trustDomain)),
    addressReach(ipBlocks),
    addressReach(remoteIpBlocks),
  ]);
}

const isIgnored = (field: string, enforcer: Enforcer): boolean => enforcer === "ztunnel" && field === "notTrustDomains";

/** `cluster.local` stands for the trust domain of any name (Istio pkg/spiffe and pilot/pkg/security/trustdomain). */
const isOwnTrustDomain = (domain: string, own: string): boolean => domain === "cluster.local" || domain === own;

function isAnyPrincipal(principal: string, trustDomain: string): boolean {
  const everyIdentity = /^([^/]+)\/(?:ns\/)?\*$/.exec(principal);
  return principal === "*" || (everyIdentity !== null && isOwnTrustDomain(everyIdentity[1] ?? "", trustDomain));
}

/** One of the values is enough. A caller has an identity only over mTLS. */
function identityReach(values: readonly string[], isAnyone: (value: string) => boolean): Reach {
  if (values.length === 0) return "everyone";
  return values.some(isAnyone) ? "authenticated" : "some";
}

const addressReach = (blocks: readonly string[]): Reach =>
  blocks.length === 0 || blocks.some((block) => block.endsWith("/0")) ? "everyone" : "some";

/**
 * An attribute that is not listed here restricts the rule. ztunnel skips a condition without supported attributes,
 * which restricts it too.
 */
function conditionReach({ key, values, notValues }: Condition, enforcer: Enforcer, trustDomain: string): Reach {
  if (notValues.length > 0) return "some";
  if (values.length === 0) return enforcer === "ztunnel" ? "some" : "everyone";
  if (["source.ip", "remote.ip", "destination.ip"].includes(key)) return addressReach(values);
  if (key === "source.principal") return identityReach(values, (value) => isAnyPrincipal(value, trustDomain));
  if (key === "source.namespace" || key === "source.trustDomain")
    return identityReach(values, (value) => value === "*");
  // Every request has :authority, :method, :path and :scheme.
  if (/^request\.headers\[:(?:authority|method|path|scheme)\]$/.test(key))
    return isAny(values, "*") ? "everyone" : "some";
  return "some";
}
