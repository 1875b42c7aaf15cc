import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import { effectsOfChanges } from "../../mesh/authorization/added-effects.ts";
import { newlySelected } from "../../mesh/authorization/changed-attachments.ts";
import { namespacesInForce, possibleReach } from "../../mesh/authorization/proxy-attachments.ts";
import { EffectScopes, policyScope, type ProxyScope } from "../../mesh/authorization/proxy-scope.ts";
import { actionOf, type AuthorizationPolicy, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { enforcedPoliciesOfNamespace } from "../../mesh/authorization/policy-levels.ts";
import { matchesWithoutToken, requiresToken } from "../../mesh/authorization/rules.ts";
import { acceptingTokensIn, type RequestAuthentication } from "../../mesh/authorization/token-checks.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { attachedElsewhere, proxiesServing, waypointsServing } from "../../mesh/waypoints/waypoint-attachments.ts";
import { fact, forWording, type MeshView } from "../../view/view.ts";

/** The policies of a namespace itself that allow requests, or deny all others, or all without a token. */
const policiesThatClose = fact(
  "policiesThatClose",
  "Namespace",
  [enforcedPoliciesOfNamespace],
  (namespace, mesh): readonly AuthorizationPolicy[] =>
    mesh
      .related(enforcedPoliciesOfNamespace, namespace)
      .filter((policy) => actionOf(policy) === "ALLOW" || deniesWithoutToken(policy)),
);
const deniesWithoutToken = (policy: AuthorizationPolicy): boolean =>
  actionOf(policy) === "DENY" && policy.spec.rules.some(matchesWithoutToken);

// A workload or a policy that comes or goes removes no check.
const proxies = forWording(proxiesServing);
const closing = forWording(policiesThatClose);
const reads = [
  acceptingTokensIn,
  closing,
  readers,
  rootOfNamespace,
  waypointsServing,
  proxies,
  workloadsOfNamespace,
] as const;

export const namespaceTokenCheckRemoved = defineRule({
  id: "namespace-token-check-removed",
  subject: "Namespace",
  reads,
  worksWithout: [
    "AuthorizationPolicy",
    "KubernetesGateway",
    "RequestAuthentication",
    "Service",
    "ServiceEntry",
    "Workload",
    "WorkloadEntry",
  ],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A RequestAuthentication no longer checks the tokens of a namespace, looks for them elsewhere, or writes a header that its applications may trust from another claim or not at all.",
  why: "A proxy with a RequestAuthentication refuses requests with an invalid token, and removes the headers in `outputClaimToHeaders` and `outputPayloadToHeader` from requests before it writes them itself (Istio pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig). Without it, an application that relies on the mesh takes a forged token, or a header that the client wrote, for an identity. It does not look at a token that stands elsewhere than in `fromHeaders`, `fromParams` and `fromCookies`.",
  fix: "Keep the RequestAuthentication for these workloads, until their applications verify tokens themselves.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests with an expired or forged token, which got 401 before, get answers.",
    wayOut: "Apply the RequestAuthentication again, with its selector and its headers.",
    silentWhen:
      "Another RequestAuthentication for the same workloads, or for all of them, does the same; only one of several issuers is removed, whose tokens stand in the same place; or a default deny stays, and nothing allows requests to the workloads, as where policies require tokens that nothing checks any more.",
    page: "https://istio.io/latest/docs/reference/config/security/request_authentication/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    // Most changes remove no check.
    let left: EffectScopes | undefined;
    const elsewhere = attachedElsewhere<RequestAuthentication, typeof acceptingTokensIn>(
      [after, before],
      acceptingTokensIn,
      scopeOf,
    );
    const scopes = () => (left ??= scopesOf([...listsOf(after.object, after.mesh).flat(), ...elsewhere[0]]));
    const lost = effectsOfChanges([after, before], {
      ...{ objectsIn: acceptingTokensIn, proxies, elsewhere, scopeOf, effectsOf },
    });
    const isKept = (effect: string, scope: ProxyScope): boolean =>
      scopes().has(effect, scope, before.mesh.get(proxies, before.object).isAtWaypoint(scope));
    const closed = new Map<RequestAuthentication, boolean>();
    const isClosedFor = (object: RequestAuthentication): boolean => {
      let known = closed.get(object);
      if (known === undefined) closed.set(object, (known = isClosed(scopeOf(object), after)));
      return known;
    };
    for (const { object, effect, reach } of lost)
      if (isLost(effect, (one) => isKept(one, scopeOf(object))) && !isClosedFor(object))
        yield {
          at: [],
          message: `${idOf(object)} ${lossOf(effect, after.object.metadata.name)}`,
          related: [object],
          ...(reach === "sure" ? {} : { onlyWarns: possibleReach }),
        };
    yield* lostByLabels(before, after, scopes);
  },
});

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

function* lostByLabels(before: Side, after: Side, scopes: () => EffectScopes): Iterable<Problem> {
  const old = listsOf(before.object, before.mesh);
  const relabelled = new Relabelled(scopes, after.mesh.related(workloadsOfNamespace, after.object));
  for (const { workload, object } of newlySelected([after, before], [listsOf(after.object, after.mesh), old], labelsOf))
    for (const effect of effectsOf(object))
      if (isLost(effect, (one) => relabelled.keeps(one, workload)))
        yield {
          at: [],
          message: `With its new labels, ${idOf(workload)} is no longer selected by ${idOf(object)}, which ${lossOf(effect, after.object.metadata.name)}`,
          related: [object],
        };
}

function scopesOf(authentications: readonly RequestAuthentication[]): EffectScopes {
  const scopes = new EffectScopes();
  for (const one of authentications) for (const effect of effectsOf(one)) scopes.add(effect, scopeOf(one));
  return scopes;
}

function isLost(effect: string, stays: (effect: string) => boolean): boolean {
  const condition = conditionOf(effect);
  return !stays(effect) && (condition === undefined || stays(condition));
}

const listsOf = (namespace: Namespace, mesh: MeshView<(typeof reads)[number]>) =>
  namespacesInForce(namespace, mesh).map((one) => mesh.get(acceptingTokensIn, one));

/**
 * Whether no request arrives: a default deny applies, and no policy for workloads like these allows anything. Where nothing checks
 * tokens any more, no request has a principal, and what requires one lets nobody in.
 */
function isClosed({ labels, targetRefs }: ProxyScope, { object, mesh }: Side): boolean {
  if (targetRefs.length > 0 || !mesh.knowsAll("AuthorizationPolicy")) return false;
  const policies = namespacesInForce(object, mesh).flatMap((one) => mesh.get(closing, one));
  const checking = listsOf(object, mesh).flat();
  mesh.visited(policies.length + checking.length);
  const mayBeFor = ({ spec }: AuthorizationPolicy | RequestAuthentication): boolean =>
    Object.entries(spec.selector?.matchLabels ?? {}).every(([key, value]) => (labels[key] ?? value) === value);
  const isForThese = (policy: AuthorizationPolicy): boolean =>
    targetRefsOf(policy).length === 0 && selects(policy.spec.selector?.matchLabels ?? {}, labels);
  const haveTokens = checking.some(mayBeFor);
  if (!haveTokens && policies.some((policy) => isForThese(policy) && deniesWithoutToken(policy))) return true;
  const allows = policies.filter((policy) => actionOf(policy) === "ALLOW");
  const letsIn = ({ spec }: AuthorizationPolicy): boolean =>
    spec.rules.some((rule) => haveTokens || !requiresToken(rule));
  return allows.some(isForThese) && !allows.some((policy) => letsIn(policy) && mayBeFor(policy));
}

const scopeOf = ({ metadata, spec }: RequestAuthentication): ProxyScope => policyScope(spec, metadata.namespace);
const labelsOf = ({ spec }: RequestAuthentication) =>
  spec.targetRefs.length === 0 && spec.targetRef === undefined ? spec.selector?.matchLabels : undefined;

/**
 * What a RequestAuthentication does: it checks tokens, looks for them in a place, writes a header, and writes it from a claim. A
 * place means something while tokens are checked, and a claim while its header is written.
 */
type Effect =
  | readonly ["checks"]
  | readonly ["place", place: string]
  | readonly ["header", name: string]
  | readonly ["claim", header: string, from: string];

const written = (effect: Effect): string => JSON.stringify(effect);
const checks = written(["checks"]);

function effectsOf({ spec }: RequestAuthentication): readonly string[] {
  const effects: Effect[] = [["checks"]];
  for (const rule of spec.jwtRules) {
    for (const place of placesOf(rule)) effects.push(["place", place]);
    const headers = rule.outputClaimToHeaders.map(
      ({ header, claim }) => [header, `claim ${JSON.stringify(claim)}`] as const,
    );
    for (const [header, from] of [[rule.outputPayloadToHeader, "the whole token"] as const, ...headers])
      if (header) effects.push(["header", header.toLowerCase()], ["claim", header.toLowerCase(), from]);
  }
  return [...new Set(effects.map(written))];
}

/** Where a token may stand. Without any place, it is where Envoy looks by default (envoy jwt_authn config.proto JwtProvider). */
function placesOf({
  fromHeaders,
  fromParams,
  fromCookies,
}: RequestAuthentication["spec"]["jwtRules"][number]): readonly string[] {
  if (fromHeaders.length + fromParams.length + fromCookies.length === 0)
    return ['header "authorization" after "Bearer "', 'parameter "access_token"'];
  return [
    ...fromHeaders.map(
      ({ name, prefix }) =>
        `header ${JSON.stringify(name.toLowerCase())}${prefix === "" ? "" : ` after ${JSON.stringify(prefix)}`}`,
    ),
    ...fromParams.map((name) => `parameter ${JSON.stringify(name)}`),
    ...fromCookies.map((name) => `cookie ${JSON.stringify(name)}`),
  ];
}

/** The effect without which this one means nothing, and whose loss is another problem. */
function conditionOf(effect: string): string | undefined {
  const [kind, header = ""] = JSON.parse(effect) as Effect;
  if (kind === "place") return checks;
  return kind === "claim" ? written(["header", header]) : undefined;
}

function lossOf(effect: string, namespace: string): string {
  const [kind, name = "", from = ""] = JSON.parse(effect) as Effect;
  const losses: Readonly<Record<typeof kind, string>> = {
    checks: `no longer refuses requests to namespace ${namespace} with invalid tokens`,
    place: `no longer looks for tokens in ${name} of requests to namespace ${namespace}, so that an invalid one there is not refused`,
    header: `no longer writes header ${JSON.stringify(name)} for namespace ${namespace}, so that clients can write it themselves`,
    claim: `no longer writes header ${JSON.stringify(name)} for namespace ${namespace} from ${from}, but from something else, which users may be able to choose`,
  };
  return losses[kind];
}

/** What the RequestAuthentications do for workloads with their new labels. Each answer is computed once. */
class Relabelled {
  readonly #checks: () => EffectScopes;
  readonly #workloads: readonly Workload[];
  readonly #kept = new Map<string, boolean>();

  constructor(checks: () => EffectScopes, workloads: readonly Workload[]) {
    this.#checks = checks;
    this.#workloads = workloads;
  }

  /** A workload that is deleted loses nothing. */
  keeps(effect: string, old: Workload): boolean {
    const key = `${keyOf(old)} ${effect}`;
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      const now = this.#workloads.find((one) => keyOf(one) === keyOf(old));
      this.#kept.set(key, (kept = now === undefined || this.#checks().selects(effect, now.pod.labels)));
    }
    return kept;
  }
}
