import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { asksForToken, matchesWithoutToken, requiresToken } from "../../mesh/authorization/rules.ts";
import { captureOf, enrollmentOf } from "../../mesh/membership/capture.ts";
import { captured } from "../../mesh/membership/captured.ts";
import type { InjectorSettings } from "../../mesh/membership/injector-selectors.ts";
import { type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { gatewayNameLabel } from "../../mesh/objects/labels.ts";
import { Labelled } from "../../mesh/objects/labelled.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { SelectorGroups } from "../../mesh/objects/selector-groups.ts";
import { matchLabelsOf } from "../../mesh/objects/selectors.ts";
import { type Placed, placed, PoliciesTogether, readsPlaced } from "../../mesh/waypoints/policies-together.ts";
import { namespacesTogether } from "../../mesh/waypoints/together-at-waypoints.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type RequestAuthentication = ObjectOf<"RequestAuthentication">;
type Authentication = Placed<RequestAuthentication>;
type Rule = AuthorizationPolicy["spec"]["rules"][number];

const everywhere = "*";
const demands = (policy: AuthorizationPolicy, settings: MeshSettings): boolean =>
  isEnforced(policy, settings) && policy.spec.rules.some(asksForToken);

/** A policy with conditions on tokens, and its namespace. */
const namespaceOfTokenPolicy = relation(
  "namespaceOfTokenPolicy",
  index("AuthorizationPolicy", (policy, settings) => (demands(policy, settings) ? [policy.metadata.namespace] : [])),
  namespaceByName,
);
/** A namespace and its RequestAuthentications. */
const authenticationsOfNamespace = relation(
  "authenticationsOfNamespace",
  namespaceByName,
  index("RequestAuthentication", (one, settings) =>
    isServed(one, settings) && one.spec.jwtRules.length > 0 ? [one.metadata.namespace, everywhere] : [],
  ),
);
/** A policy of the root namespace with conditions on tokens, and the RequestAuthentications of all namespaces. */
const authenticationsOfMesh = relation(
  "authenticationsOfMesh",
  index("AuthorizationPolicy", (policy, settings) =>
    policy.metadata.namespace === settings.rootNamespace && demands(policy, settings) ? [everywhere] : [],
  ),
  authenticationsOfNamespace.to,
);

/** RequestAuthentications, indexed for comparison with many policies. */
class TokenValidation {
  readonly #all: PoliciesTogether;
  readonly #byIssuer: ReadonlyMap<string, readonly Authentication[]>;
  readonly #ofIssuer = new Map<string, PoliciesTogether>();
  #beginnings: Beginnings | undefined;
  #endings: Beginnings | undefined;

  constructor(authentications: readonly Authentication[]) {
    this.#all = new PoliciesTogether(authentications);
    this.#byIssuer = groupedByIssuer(authentications);
  }

  /**
   * Whether one of them that can apply to the same proxies as the policy names the issuer. An issuer that is not written is
   * not known, and of those that only begin or end alike, all are asked together.
   */
  accepts({ issuer, by }: IssuerPattern, policy: Placed): boolean {
    if (this.#isAcceptedFrom("", policy) || (by === "name" && this.#isAcceptedFrom(issuer, policy))) return true;
    if (by === "name") return false;
    if (by === "beginning") return (this.#beginnings ??= new Beginnings(this.#byIssuer.keys())).has(issuer);
    return (this.#endings ??= new Beginnings([...this.#byIssuer.keys()].map(reversed))).has(reversed(issuer));
  }

  #isAcceptedFrom(issuer: string, policy: Placed): boolean {
    let known = this.#ofIssuer.get(issuer);
    if (known === undefined)
      this.#ofIssuer.set(issuer, (known = new PoliciesTogether(this.#byIssuer.get(issuer) ?? [])));
    return known.meet(policy);
  }

  /** Whether one of them can apply to a proxy that enforces the policy. */
  meets(policy: Placed): boolean {
    return this.#all.meet(policy);
  }
}

function groupedByIssuer(authentications: readonly Authentication[]): ReadonlyMap<string, readonly Authentication[]> {
  const found = new Map<string, Authentication[]>();
  for (const authentication of authentications)
    for (const issuer of new Set(authentication.policy.spec.jwtRules.map((rule) => rule.issuer ?? ""))) {
      const some = found.get(issuer) ?? [];
      some.push(authentication);
      found.set(issuer, some);
    }
  return found;
}

/** Texts in order, to find those with a beginning without visiting all. */
class Beginnings {
  readonly #sorted: readonly string[];
  constructor(texts: Iterable<string>) {
    this.#sorted = [...texts].sort();
  }

  /** Whether one of them begins so. */
  has(beginning: string): boolean {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sorted[middle] ?? "") < beginning) low = middle + 1;
      else high = middle;
    }
    return this.#sorted[low]?.startsWith(beginning) === true;
  }
}
const reversed = (text: string): string => [...text].reverse().join("");

/** How the RequestAuthentications of a namespace validate tokens. */
const tokenValidation = fact(
  "tokenValidation",
  "Namespace",
  [authenticationsOfNamespace, ...readsPlaced],
  (namespace, mesh) =>
    new TokenValidation(mesh.related(authenticationsOfNamespace, namespace).map((one) => placed(one, mesh))),
);
/** How those of all namespaces do. */
const tokenValidationOfMesh = fact(
  "tokenValidationOfMesh",
  "key",
  [authenticationsOfMesh, ...readsPlaced],
  (key, mesh) => new TokenValidation(mesh.under(authenticationsOfMesh, [key]).map((one) => placed(one, mesh))),
);

/** The workloads of a namespace with a sidecar that no RequestAuthentication selects, of its own or of the root namespace. */
const workloadsWithoutTokens = fact(
  "workloadsWithoutTokens",
  "Namespace",
  [authenticationsOfNamespace, rootOfNamespace, captured],
  (namespace, mesh): Labelled<Workload> => {
    const all = [namespace, ...mesh.related(rootOfNamespace, namespace)].flatMap((one) =>
      mesh.related(authenticationsOfNamespace, one),
    );
    const selecting = new SelectorGroups(
      all.flatMap((one) => (targetRefsOf(one).length === 0 ? [[matchLabelsOf(one), one] as const] : [])),
    );
    const { workloads } = mesh.get(captured, namespace);
    mesh.visited(workloads.all.length);
    const without = workloads.all.filter(
      (one) =>
        selecting.selecting(one.pod.labels).length === 0 && captureOf(one, namespace, mesh.settings) === "sidecar",
    );
    return new Labelled(without, ({ pod }) => pod.labels);
  },
);

const reads = [
  namespaceOfTokenPolicy,
  workloadsWithoutTokens,
  namespacesTogether,
  rootOfNamespace,
  tokenValidation,
  tokenValidationOfMesh,
  ...readsPlaced,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const authorizationPolicyNeedsToken = defineRule({
  id: "authorization-policy-needs-token",
  subject: "AuthorizationPolicy",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A policy has conditions on tokens that no RequestAuthentication validates, or none for some of its workloads, where a DENY rule for requests without a token denies all of them.",
  why: "The request principal and the claims of a request come from a token that a RequestAuthentication has validated (Istio pilot/pkg/security/authn/policy_applier.go, pilot/pkg/security/authz/model/generator.go requestPrincipalGenerator). Without one for the same workloads and issuer a request has neither: an ALLOW rule that names some allows nobody, a DENY rule denies nobody, and `notRequestPrincipals` matches everybody.",
  fix: "Add a RequestAuthentication for the same workloads or target, with the issuer in `jwtRules`, or correct the selector or the issuer.",
  incident: {
    symptoms: ["access-denied", "open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "With an ALLOW rule, every caller gets 403 `RBAC: access denied`, with a valid token too. With a DENY rule, nobody is denied.",
    wayOut: "Apply the RequestAuthentication again if it was deleted, or the previous version of the policy.",
    silentWhen:
      "RequestAuthentications are not known, or one of them may apply to some of the same workloads and accept the issuer; of the other workloads, only a DENY rule for requests without a token is reported, at sidecars. The policy has no targetRefs and its namespace is ambient: ztunnel knows no tokens, which authorization-policy-not-enforced-l7 reports.",
    page: "https://istio.io/latest/docs/tasks/security/authorization/authz-jwt/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfTokenPolicy, policy);
    if (namespace === undefined || isForZtunnel(policy, namespace, mesh.settings)) return;
    const all = validationsFor(policy, namespace, mesh);
    const here = placed(policy, mesh);
    const isMet = all.some((one) => one.meets(here));
    const rest = {
      evidence: [absent("RequestAuthentication", namespace.metadata.name)],
      ...(mesh.knowsAll("RequestAuthentication") ? {} : { guess: "all RequestAuthentications" }),
    };
    for (const [i, rule] of policy.spec.rules.entries()) {
      if (!asksForToken(rule)) continue;
      if (isMet) {
        yield* deniedWithoutToken(policy, rule, { at: ["spec", "rules", i], namespace }, mesh);
        yield* otherIssuers(
          rule,
          ["spec", "rules", i],
          (pattern) => all.some((one) => one.accepts(pattern, here)),
          rest,
        );
      } else yield { at: ["spec", "rules", i], message: unmet(rule), key: "no token", ...rest };
    }
  },
});

/** A DENY rule for requests without a token denies all of them where nothing validates tokens, such as in the rest of the namespace. */
function* deniedWithoutToken(
  policy: AuthorizationPolicy,
  rule: Rule,
  { at, namespace }: { readonly at: Path; readonly namespace: Namespace },
  mesh: View,
): Iterable<Problem> {
  if (actionOf(policy) !== "DENY" || targetRefsOf(policy).length > 0 || !mesh.knowsAll("RequestAuthentication")) return;
  if (namespace.metadata.name === mesh.settings.rootNamespace || !matchesWithoutToken({ ...rule, to: [] })) return;
  const without = mesh.get(workloadsWithoutTokens, namespace).selected(matchLabelsOf(policy));
  const [first] = without;
  if (first === undefined) return;
  const others = without.length === 1 ? "" : ` and ${without.length - 1} other${without.length === 2 ? "" : "s"}`;
  yield {
    at,
    message: `No RequestAuthentication applies to ${idOf(first)}${others}, so no request there has a request principal, and this rule denies ${rule.to.length === 0 ? "all of them" : "all that its operations name"}`,
    key: "denied without a token",
    related: without.slice(0, 3),
    evidence: [first, absent("RequestAuthentication", namespace.metadata.name)],
    fix: "Give the policy the selector of the RequestAuthentication, or let the RequestAuthentication apply to the same workloads.",
  };
}

/** ztunnel knows no tokens, which another rule reports. The pods of a Gateway are proxies in ambient namespaces, too. */
const isForZtunnel = (policy: AuthorizationPolicy, namespace: Namespace, settings: InjectorSettings): boolean =>
  targetRefsOf(policy).length === 0 &&
  matchLabelsOf(policy)[gatewayNameLabel] === undefined &&
  enrollmentOf(namespace, settings) === "ambient";

/** All mesh-wide policies are compared with one list of RequestAuthentications, which is indexed once. */
function validationsFor(policy: AuthorizationPolicy, namespace: Namespace, mesh: View): readonly TokenValidation[] {
  if (namespace.metadata.name === mesh.settings.rootNamespace) return [mesh.get(tokenValidationOfMesh, everywhere)];
  // Where a waypoint decides, so does what targets it in its own namespace, or the Services of another one.
  const others = targetRefsOf(policy).length === 0 ? [] : mesh.get(namespacesTogether, namespace);
  const all = [namespace, ...mesh.related(rootOfNamespace, namespace), ...others];
  return all.map((one) => mesh.get(tokenValidation, one));
}

function unmet(rule: Rule): string {
  const effect = requiresToken(rule) ? "this rule matches no request" : effectsOf(rule).join(", and ");
  return `No RequestAuthentication applies to the same workloads, so requests have no request principal and no claims: ${effect}`;
}

/** Of a rule that matches some requests without a token. */
function effectsOf({ from, when }: Rule): readonly string[] {
  const { true: demanding = [], false: others = [] } = Object.groupBy(
    from,
    ({ source }) => `${source.requestPrincipals.length > 0}` as const,
  );
  const isExcepting =
    others.some(({ source }) => source.notRequestPrincipals.length > 0) ||
    when.some(({ key, notValues }) => key.startsWith("request.auth.") && notValues.length > 0);
  return [
    ...(demanding.length > 0 ? ["a source with `requestPrincipals` matches no request"] : []),
    ...(isExcepting ? ["`notRequestPrincipals` and `notValues` match every request"] : []),
  ];
}

function* otherIssuers(
  rule: Rule,
  at: Path,
  isAccepted: (pattern: IssuerPattern) => boolean,
  rest: Pick<Problem, "evidence" | "guess">,
): Iterable<Problem> {
  for (const { value, at: place } of principalsOf(rule, at)) {
    const pattern = issuerOf(value);
    if (pattern === undefined)
      yield {
        at: place,
        message: `No request has request principal ${JSON.stringify(value)}: it is an issuer without "/" and a subject`,
        fix: `Write \`${value}/*\` for all subjects of this issuer.`,
      };
    else if (hasStarAsSubject(value))
      yield {
        at: place,
        message: `No request has request principal ${JSON.stringify(value)}: after a * at the beginning, the one behind the "/" stands for itself`,
        fix: "Write `*` for every issuer and subject, or `<issuer>/*` with the whole issuer for all of its subjects.",
      };
    else if (!isAccepted(pattern))
      yield {
        at: place,
        message: `No RequestAuthentication here has the issuer of ${JSON.stringify(value)}, so no request has this request principal`,
        ...rest,
      };
  }
  for (const { value, at: place } of issuersOf(rule, at))
    if (!isAccepted(patternOf(value)))
      yield {
        at: place,
        message: `No RequestAuthentication here has the issuer ${JSON.stringify(value)}, so no request has this claim`,
        ...rest,
      };
}

/** The values of conditions on the claim with the issuer. */
function issuersOf({ when }: Rule, at: Path): readonly { readonly value: string; readonly at: Path }[] {
  return when.flatMap((condition, j) =>
    condition.key === "request.auth.claims[iss]"
      ? (["values", "notValues"] as const).flatMap((field) =>
          condition[field].map((value, k) => ({ value, at: [...at, "when", j, field, k] })),
        )
      : [],
  );
}

function principalsOf({ from, when }: Rule, at: Path): readonly { readonly value: string; readonly at: Path }[] {
  const placed = (values: readonly string[], place: Path) => values.map((value, k) => ({ value, at: [...place, k] }));
  return [
    ...from.flatMap(({ source }, j) =>
      (["requestPrincipals", "notRequestPrincipals"] as const).flatMap((field) =>
        placed(source[field], [...at, "from", j, "source", field]),
      ),
    ),
    ...when.flatMap((condition, j) =>
      condition.key === "request.auth.principal"
        ? (["values", "notValues"] as const).flatMap((field) => placed(condition[field], [...at, "when", j, field]))
        : [],
    ),
  ];
}

/** Issuers: this one, or all that begin or end so. */
interface IssuerPattern {
  readonly issuer: string;
  readonly by: "name" | "beginning" | "end";
}

/** Which issuers a value of a claim accepts: `*`, a beginning, an end, or one issuer. */
function patternOf(value: string): IssuerPattern {
  if (value.startsWith("*")) return { issuer: value.slice(1), by: "end" };
  return value.endsWith("*") ? { issuer: value.slice(0, -1), by: "beginning" } : { issuer: value, by: "name" };
}

/** With a `*` at the beginning, a subject is compared exactly (requestPrincipalGenerator). */
const hasStarAsSubject = (value: string): boolean => /^\*.*\/[^/]*\*[^/]*$/s.test(value);

/**
 * Which issuers a pattern of request principals, `issuer/subject`, accepts (requestPrincipalGenerator); undefined: without a
 * slash and a wildcard, it is an issuer with an empty subject.
 */
function issuerOf(value: string): IssuerPattern | undefined {
  const slash = value.lastIndexOf("/");
  const issuer = slash < 0 ? value : value.slice(0, slash);
  if (value.startsWith("*")) return { issuer: slash < 0 ? "" : issuer.slice(1), by: "end" };
  if (slash >= 0) return { issuer, by: "name" };
  return value.endsWith("*") ? { issuer: issuer.slice(0, -1), by: "beginning" } : undefined;
}
