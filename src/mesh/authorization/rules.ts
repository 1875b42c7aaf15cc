import type { ObjectOf } from "../../kube/object.ts";

type Rule = ObjectOf<"AuthorizationPolicy">["spec"]["rules"][number];

/** The component that enforces policies: Envoy (sidecar, gateway, waypoint), or ztunnel, which does not parse HTTP. */
export type Enforcer = "proxy" | "ztunnel";
export const enforcers: readonly Enforcer[] = ["proxy", "ztunnel"];

/** Whether a rule has attributes that ztunnel does not support. */
export function asksForHttp({ from, to, when }: Rule): boolean {
  return (
    to.some(({ operation }) => httpFields.some((field) => operation[field].length > 0)) ||
    from.some(({ source }) => httpSources.some((field) => source[field].length > 0)) ||
    when.some(({ key }) => !ztunnelConditions.has(key))
  );
}

/**
 * Whether a rule has attributes that a proxy knows only where it parses HTTP (Istio pilot/pkg/security/authz/model/generator.go,
 * forTCP). It knows the addresses and the server name of every connection, also those of which ztunnel knows nothing.
 */
export function asksForRequest({ from, to, when }: Rule): boolean {
  return (
    to.some(({ operation }) => httpFields.some((field) => operation[field].length > 0)) ||
    from.some(({ source }) => source.requestPrincipals.length + source.notRequestPrincipals.length > 0) ||
    when.some(({ key }) => key.startsWith("request."))
  );
}

/** Whether a rule has sources by trust domain, of which istiod tells ztunnel nothing (Istio ambient/authorization.go handleRule). */
export const asksForTrustDomain = ({ from }: Rule): boolean =>
  from.some(({ source }) => trustDomainFields.some((field) => source[field].length > 0));
export const trustDomainFields = ["trustDomains", "notTrustDomains"] as const;

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

/** Whether only requests with a token match a rule. */
export const requiresToken = ({ from, when }: Rule): boolean =>
  (from.length > 0 && from.every(({ source }) => source.requestPrincipals.length > 0)) ||
  when.some(({ key, values }) => key.startsWith("request.auth.") && values.length > 0);

/** Whether all requests without a token match a rule, as one of its sources is `notRequestPrincipals: ["*"]` alone. */
export const matchesWithoutToken = ({ from, to, when }: Rule): boolean =>
  to.length + when.length === 0 &&
  from.some(
    ({ source }) =>
      source.notRequestPrincipals.includes("*") &&
      Object.entries(source).every(([field, values]) => field === "notRequestPrincipals" || values.length === 0),
  );

/** Whether a rule checks the token of a request. */
export const asksForToken = ({ from, when }: Rule): boolean =>
  from.some(({ source }) => source.requestPrincipals.length + source.notRequestPrincipals.length > 0) ||
  when.some(({ key }) => key.startsWith("request.auth."));
