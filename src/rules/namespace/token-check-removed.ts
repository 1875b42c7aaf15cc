import { defineRule } from "../../engine/rule.ts";
import { idOf, keyOf } from "../../kube/identity.ts";
import {
  addedEffects,
  namespacesInForce,
  newlySelected,
  noLabels,
  policyScope,
  proxiesOfNamespace,
  type ProxyScope,
} from "../../mesh/authorization/proxy-attachments.ts";
import { actionOf, type AuthorizationPolicy, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { enforcedPoliciesOfNamespace } from "../../mesh/authorization/policy-levels.ts";
import { acceptingTokensIn, type RequestAuthentication } from "../../mesh/authorization/token-checks.ts";
import { isTerminating, type Namespace, rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { fact, forWording, type MeshView } from "../../view/view.ts";

type Labels = Readonly<Record<string, string>>;

/** The policies of a namespace itself that allow requests, or deny all others. */
const allowsInNamespace = fact(
  "allowsInNamespace",
  "Namespace",
  [enforcedPoliciesOfNamespace],
  (namespace, mesh): readonly AuthorizationPolicy[] =>
    mesh.related(enforcedPoliciesOfNamespace, namespace).filter((policy) => actionOf(policy) === "ALLOW"),
);

// A workload or a policy that comes or goes removes no check.
const proxies = forWording(proxiesOfNamespace);
const allows = forWording(allowsInNamespace);
const reads = [acceptingTokensIn, allows, rootOfNamespace, proxies, workloadsOfNamespace] as const;

export const namespaceTokenCheckRemoved = defineRule({
  id: "namespace-token-check-removed",
  subject: "Namespace",
  reads,
  worksWithout: ["AuthorizationPolicy", "KubernetesGateway", "RequestAuthentication", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization"],
  summary:
    "A RequestAuthentication no longer checks the tokens of a namespace, or no longer writes a header that its applications may trust.",
  why: "A proxy with a RequestAuthentication refuses requests with an invalid token, and removes the headers in `outputClaimToHeaders` and `outputPayloadToHeader` from requests before it writes them itself (Istio pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig). Without it, an application that relies on the mesh takes a forged token, or a header that the client wrote, for an identity.",
  fix: "Keep the RequestAuthentication for these workloads, until their applications verify tokens themselves.",
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests with an expired or forged token, which got 401 before, get answers.",
    wayOut: "Apply the RequestAuthentication again, with its selector and its headers.",
    silentWhen:
      "Another RequestAuthentication for the same workloads, or for all of them, does the same; only one of several issuers is removed; or a default deny stays, and nothing allows requests to the workloads.",
    page: "https://istio.io/latest/docs/reference/config/security/request_authentication/",
  },

  *compare(before, after) {
    if (isTerminating(after.object)) return;
    const lists = listsOf(after.object, after.mesh);
    const left = new Checks(lists.flat());
    const lost = addedEffects([after, before], { objectsIn: acceptingTokensIn, proxies, scopeOf, effectsOf });
    for (const { object, effect, reach } of lost)
      if (!left.has(effect, scopeOf(object)) && !isClosed(scopeOf(object), after))
        yield {
          at: [],
          message: `${idOf(object)} ${lossOf(effect, after.object.metadata.name)}`,
          related: [object],
          ...(reach === "sure" ? {} : { atMost: "warn" as const }),
        };
    const old = listsOf(before.object, before.mesh);
    const relabelled = new Relabelled(left, after.mesh.related(workloadsOfNamespace, after.object));
    for (const { workload, object } of newlySelected([after, before], [lists, old], labelsOf))
      for (const effect of effectsOf(object))
        if (!relabelled.keeps(effect, workload))
          yield {
            at: [],
            message: `With its new labels, ${idOf(workload)} is no longer selected by ${idOf(object)}, which ${lossOf(effect, after.object.metadata.name)}`,
            related: [object],
          };
  },
});

const listsOf = (namespace: Namespace, mesh: MeshView<(typeof reads)[number]>) =>
  namespacesInForce(namespace, mesh).map((one) => mesh.get(acceptingTokensIn, one));

/** Whether no request arrives: a default deny for all applies, and no policy for workloads like these allows anything. */
function isClosed(
  { labels, targetRefs }: ProxyScope,
  { object, mesh }: { readonly object: Namespace; readonly mesh: MeshView<(typeof reads)[number]> },
): boolean {
  if (targetRefs.length > 0 || !mesh.knowsAll("AuthorizationPolicy")) return false;
  const policies = namespacesInForce(object, mesh).flatMap((one) => mesh.get(allows, one));
  mesh.visited(policies.length);
  const mayBeFor = ({ spec }: AuthorizationPolicy): boolean =>
    Object.entries(spec.selector?.matchLabels ?? {}).every(([key, value]) => (labels[key] ?? value) === value);
  const isForAll = (policy: AuthorizationPolicy): boolean =>
    policy.spec.selector === undefined && targetRefsOf(policy).length === 0;
  return policies.some(isForAll) && !policies.some((policy) => policy.spec.rules.length > 0 && mayBeFor(policy));
}

const scopeOf = ({ spec }: RequestAuthentication): ProxyScope => policyScope(spec);
const labelsOf = ({ spec }: RequestAuthentication) =>
  spec.targetRefs.length === 0 && spec.targetRef === undefined ? spec.selector?.matchLabels : undefined;

const checks = "checks tokens";

/** `checks tokens`, and the names of the headers that are written from tokens. */
const effectsOf = ({ spec }: RequestAuthentication): readonly string[] => {
  const headers = spec.jwtRules.flatMap(({ outputPayloadToHeader, outputClaimToHeaders }) => [
    outputPayloadToHeader,
    ...outputClaimToHeaders.map(({ header }) => header),
  ]);
  return [checks, ...new Set(headers.flatMap((header) => (header ? [header.toLowerCase()] : [])))];
};

const lossOf = (effect: string, namespace: string): string =>
  effect === checks
    ? `no longer refuses requests to namespace ${namespace} with invalid tokens`
    : `no longer writes header ${JSON.stringify(effect)} for namespace ${namespace}, so that clients can write it themselves`;

/** What the RequestAuthentications of a namespace do, by their scope. */
class Checks {
  readonly #scopes = new Map<string, Map<string, ProxyScope>>();

  constructor(authentications: readonly RequestAuthentication[]) {
    for (const authentication of authentications) {
      const scope = scopeOf(authentication);
      for (const effect of effectsOf(authentication))
        this.#scopes.set(effect, (this.#scopes.get(effect) ?? new Map()).set(JSON.stringify(scope), scope));
    }
  }

  /** Whether one for all proxies, or for the same ones, has this effect. */
  has(effect: string, scope: ProxyScope): boolean {
    const scopes = this.#scopes.get(effect);
    return scopes?.has(everywhere) === true || scopes?.has(JSON.stringify(scope)) === true;
  }

  /** Whether one that selects these labels has this effect. */
  selects(effect: string, labels: Labels): boolean {
    const scopes = [...(this.#scopes.get(effect)?.values() ?? [])];
    return scopes.some((scope) => scope.targetRefs.length === 0 && selects(scope.labels, labels));
  }
}

/** What the RequestAuthentications do for workloads with their new labels. Each answer is computed once. */
class Relabelled {
  readonly #checks: Checks;
  readonly #workloads: readonly Workload[];
  readonly #kept = new Map<string, boolean>();

  constructor(checks: Checks, workloads: readonly Workload[]) {
    this.#checks = checks;
    this.#workloads = workloads;
  }

  /** A workload that is deleted loses nothing. */
  keeps(effect: string, old: Workload): boolean {
    const key = `${keyOf(old)} ${effect}`;
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      const now = this.#workloads.find((one) => keyOf(one) === keyOf(old));
      this.#kept.set(key, (kept = now === undefined || this.#checks.selects(effect, now.pod.labels)));
    }
    return kept;
  }
}

const everywhere = JSON.stringify({ labels: noLabels, targetRefs: [] } satisfies ProxyScope);
