import { defineRule, type Problem } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import { type AuthorizationPolicy, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { trustDomainsOf } from "../../mesh/authorization/requests/identities.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { gatewayNameLabel } from "../../mesh/objects/labels.ts";
import { matchLabelsOf } from "../../mesh/objects/selectors.ts";
import type { SettingsWith } from "../../view/settings.ts";
import { index, type MeshView, relation, setting } from "../../view/view.ts";

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
 * these (Istio pilot/pkg/networking/plugin/authn/util.go TrustDomainsForValidation). Gateways, which a policy can target, also
 * accept other client certificates.
 */
const trustDomainsFor = (
  policy: AuthorizationPolicy,
  settings: SettingsWith<"seen">,
): ReadonlySet<string> | undefined =>
  settings.seen && targetRefsOf(policy).length === 0 ? new Set(trustDomainsOf(settings)) : undefined;

/**
 * What stands for the trust domains of the mesh at proxies, in principals of five parts (Istio pilot/pkg/security/trustdomain/bundle.go
 * isTrustDomainBeingEnforced, ReplaceTrustDomainAliases). istiod sends principals to ztunnel as they are
 * (pilot/pkg/serviceregistry/ambient/authorization.go stringToMatch).
 */
const own = "cluster.local";
const isOfOwn = (principal: string): boolean => principal.startsWith(`${own}/`);

/** A policy without targetRefs that names identities of `cluster.local`, and its namespace. */
const namespaceOfOwnPrincipals = relation(
  "namespaceOfOwnPrincipals",
  index("AuthorizationPolicy", (policy, settings) => {
    const isOfPods = targetRefsOf(policy).length === 0 && policy.metadata.namespace !== settings.rootNamespace;
    return isOfPods && policy.spec.rules.some(namesOwn) ? [policy.metadata.namespace] : [];
  }),
  namespaceByName,
);
const namesOwn = ({ from, when }: AuthorizationPolicy["spec"]["rules"][number]): boolean =>
  from.some(({ source }) => [...source.principals, ...source.notPrincipals].some(isOfOwn)) ||
  when.some(({ key, values, notValues }) => key === "source.principal" && [...values, ...notValues].some(isOfOwn));

/** Whether ztunnel enforces the policy. The pods of a Gateway are proxies in ambient namespaces, too. */
function isForZtunnel(policy: AuthorizationPolicy, mesh: MeshView<typeof namespaceOfOwnPrincipals>): boolean {
  const [namespace] = mesh.related(namespaceOfOwnPrincipals, policy);
  return (
    namespace !== undefined &&
    enrollmentOf(namespace, mesh.settings) === "ambient" &&
    matchLabelsOf(policy)[gatewayNameLabel] === undefined
  );
}

/** Why no workload has an identity in the trust domain of a principal that is otherwise right. */
function trustDomainProblem(
  principal: string,
  known: ReadonlySet<string> | undefined,
  isAtZtunnel: boolean,
): string | undefined {
  const [trustDomain = "", ...rest] = principal.split("/");
  if (known === undefined || rest.length === 0 || trustDomain.includes("*") || known.has(trustDomain)) return undefined;
  const [first] = known;
  if (trustDomain !== own) return `${JSON.stringify(trustDomain)} is no trust domain of this mesh, which has ${first}`;
  if (rest.length < names.length - 1)
    return `"${own}" stands for ${first}, the trust domain of this mesh, only in principals with a namespace and a service account`;
  return isAtZtunnel ? `ztunnel compares trust domains as they are written, and this mesh has ${first}` : undefined;
}

export const authorizationPolicyPrincipalMalformed = defineRule({
  id: "authorization-policy-principal-malformed",
  subject: "AuthorizationPolicy",
  reads: [setting("seen"), namespaceOfOwnPrincipals],
  // Only what ztunnel compares otherwise depends on the namespace, and only a change of this one is followed to other policies.
  worksWithout: ["AuthorizationPolicy", "Namespace"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "No identity can have this principal, so it matches nobody.",
  why: "Identities are compared as text, without `spiffe://` (Istio pilot/pkg/security/authz/model/generator.go srcPrincipalGenerator): one that is written differently matches no caller. So does one of a trust domain that the mesh config does not name, because proxies refuse its certificates. At proxies, `cluster.local` stands for the trust domains of the mesh in principals that are whole (pilot/pkg/security/trustdomain/bundle.go ReplaceTrustDomainAliases), and at ztunnel it never does (pilot/pkg/serviceregistry/ambient/authorization.go stringToMatch). Then an ALLOW rule allows nobody, a DENY rule denies nobody, and `notPrincipals` excludes nobody.",
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

  *check(policy, mesh) {
    const { spec } = policy;
    const known = trustDomainsFor(policy, mesh.settings);
    const isAtZtunnel = isForZtunnel(policy, mesh);
    const problemOf = (principal: string) =>
      principalProblem(principal) ?? trustDomainProblem(principal, known, isAtZtunnel);
    for (const [i, rule] of spec.rules.entries()) {
      const at = ["spec", "rules", i];
      for (const [j, { source }] of rule.from.entries()) {
        yield* malformed(source.principals, problemOf, [...at, "from", j, "source", "principals"]);
        yield* malformed(source.notPrincipals, problemOf, [...at, "from", j, "source", "notPrincipals"]);
      }
      for (const [j, { key, values, notValues }] of rule.when.entries()) {
        if (key !== "source.principal") continue;
        yield* malformed(values, problemOf, [...at, "when", j, "values"]);
        yield* malformed(notValues, problemOf, [...at, "when", j, "notValues"]);
      }
    }
  },
});

function* malformed(
  principals: readonly string[],
  problemOf: (principal: string) => string | undefined,
  at: Path,
): Iterable<Problem> {
  for (const [i, principal] of principals.entries()) {
    const problem = problemOf(principal);
    if (problem !== undefined)
      yield { at: [...at, i], message: `Principal ${JSON.stringify(principal)} matches nobody: ${problem}` };
  }
}
