import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { type AuthorizationPolicy, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { trustDomainsOf } from "../../mesh/authorization/requests/identities.ts";
import type { SettingsWith } from "../../view/settings.ts";
import { setting } from "../../view/view.ts";

/**
 * Why a principal of a policy cannot match any caller; undefined: it can match. An identity is
 * `<trust domain>/ns/<namespace>/sa/<service account>`, without `spiffe://`. A `*` is a wildcard at one end only; elsewhere
 * it stands for itself (Istio pkg/spiffe/spiffe.go, pilot/pkg/security/authz/matcher/string.go).
 */
function principalProblem(principal: string): string | undefined {
  if (principal === "") return "it is empty";
  if (principal.startsWith("spiffe://")) return "identities are compared without spiffe://";
  // With a * at the beginning, a * at the end is a literal character.
  const open = principal.startsWith("*") ? "start" : principal.endsWith("*") ? "end" : undefined;
  const fixed = open === "start" ? principal.slice(1) : open === "end" ? principal.slice(0, -1) : principal;
  if (fixed.includes("*")) return "a * is a wildcard at one end only";
  return shapeProblem(fixed.split("/"), open);
}

function shapeProblem(parts: readonly string[], open: "start" | "end" | undefined): string | undefined {
  if (open === "start") return fitsEnd(parts) ? undefined : shape;
  if (fitsStart(parts) && (open === "end" || parts.length === names.length)) return undefined;
  return parts[0] === "ns" ? `the trust domain is missing, ${shape}` : shape;
}

const shape = "identities have the form <trust domain>/ns/<namespace>/sa/<service account>";
/** The fixed text of each part; undefined: a name. */
const names = [undefined, "ns", undefined, "sa", undefined] as const;

/** The last part may continue, so it must be a prefix of the fixed text. */
function fitsStart(parts: readonly string[]): boolean {
  if (parts.length > names.length) return false;
  return parts.every((part, i) => {
    const isLast = i === parts.length - 1;
    const name = names[i];
    if (name === undefined) return part !== "" || (isLast && i > 0);
    return isLast ? name.startsWith(part) : part === name;
  });
}

/** The same from the other end. */
function fitsEnd(parts: readonly string[]): boolean {
  if (parts.length > names.length) return false;
  const from = names.length - parts.length;
  return parts.every((part, i) => {
    const name = names[from + i];
    if (name === undefined) return part !== "" || i === 0;
    return i === 0 ? name.endsWith(part) : part === name;
  });
}

/**
 * The trust domains that the identities of callers can have; undefined: not known. Sidecars accept only certificates of
 * these (Istio pilot/pkg/networking/plugin/authn/util.go TrustDomainsForValidation), and `cluster.local` stands for them
 * (pilot/pkg/security/trustdomain/bundle.go). Gateways, which a policy can target, also accept other client certificates.
 */
const trustDomainsFor = (
  policy: AuthorizationPolicy,
  settings: SettingsWith<"seen">,
): ReadonlySet<string> | undefined =>
  settings.seen && targetRefsOf(policy).length === 0
    ? new Set([...trustDomainsOf(settings), "cluster.local"])
    : undefined;

/** Why no workload has an identity in the trust domain of a principal that is otherwise right. */
function trustDomainProblem(principal: string, known: ReadonlySet<string> | undefined): string | undefined {
  const [trustDomain = "", ...rest] = principal.split("/");
  if (known === undefined || rest.length === 0 || trustDomain.includes("*") || known.has(trustDomain)) return undefined;
  return `${JSON.stringify(trustDomain)} is no trust domain of this mesh, which has ${[...known][0]}`;
}

export const authorizationPolicyPrincipalMalformed = defineRule({
  id: "authorization-policy-principal-malformed",
  subject: "AuthorizationPolicy",
  reads: [setting("seen")],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "No identity can have this principal, so it matches nobody.",
  why: "Identities are compared as text, without `spiffe://` (Istio pilot/pkg/security/authz/model/generator.go srcPrincipalGenerator): one that is written differently matches no caller. So does one of a trust domain that the mesh config does not name, because proxies refuse its certificates. Then an ALLOW rule allows nobody, a DENY rule denies nobody, and `notPrincipals` excludes nobody.",
  fix: "Write `<trust domain>/ns/<namespace>/sa/<service account>`, for example cluster.local/ns/orders/sa/orders-api. A `*` is allowed at one end. Trust domains are `trustDomain` and `trustDomainAliases` of the mesh config.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "With an ALLOW rule, the caller gets 403 although the policy seems to name it. With a DENY rule, nobody is denied.",
    wayOut:
      "Copy the identity of the caller from the log of the server's proxy or of ztunnel into the policy, without `spiffe://`.",
    silentWhen:
      "A pattern with `*` that an identity can match, and identities that have the right form and no workload.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, { settings }) {
    const { spec } = policy;
    const known = trustDomainsFor(policy, settings);
    for (const [i, rule] of spec.rules.entries()) {
      const at = ["spec", "rules", i];
      for (const [j, { source }] of rule.from.entries()) {
        yield* malformed(source.principals, known, [...at, "from", j, "source", "principals"]);
        yield* malformed(source.notPrincipals, known, [...at, "from", j, "source", "notPrincipals"]);
      }
      for (const [j, { key, values, notValues }] of rule.when.entries()) {
        if (key !== "source.principal") continue;
        yield* malformed(values, known, [...at, "when", j, "values"]);
        yield* malformed(notValues, known, [...at, "when", j, "notValues"]);
      }
    }
  },
});

function* malformed(
  principals: readonly string[],
  known: ReadonlySet<string> | undefined,
  at: Path,
): Iterable<Problem> {
  for (const [i, principal] of principals.entries()) {
    const problem = principalProblem(principal) ?? trustDomainProblem(principal, known);
    if (problem !== undefined)
      yield { at: [...at, i], message: `Principal ${JSON.stringify(principal)} matches nobody: ${problem}` };
  }
}
