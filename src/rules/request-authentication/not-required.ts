import { absent } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import {
  actionOf,
  type AuthorizationPolicy,
  idlenessOf,
  isEnforced,
  targetRefsOf,
} from "../../mesh/authorization/policies.ts";
import { asksForToken } from "../../mesh/authorization/rules.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { rootOfNamespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { matchLabelsOf } from "../../mesh/objects/selectors.ts";
import { type Placed, placed, PoliciesTogether, readsPlaced } from "../../mesh/waypoints/policies-together.ts";
import { namespacesTogether } from "../../mesh/waypoints/together-at-waypoints.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type RequestAuthentication = ObjectOf<"RequestAuthentication">;

const everywhere = "*";

/** A RequestAuthentication that a control plane reads, and its namespace. */
const namespaceOfRequestAuthentication = relation(
  "namespaceOfRequestAuthentication",
  index("RequestAuthentication", (authentication, settings) => {
    const { namespace } = authentication.metadata;
    return isServed(authentication, settings) && namespace !== settings.rootNamespace ? [namespace] : [];
  }),
  namespaceByName,
);
/** Whether a policy may require a token. What the provider of a CUSTOM policy requires is not known. */
function mayRequireToken(policy: AuthorizationPolicy, settings: MeshSettings): boolean {
  const idleness = idlenessOf(policy, settings);
  return idleness === "asks-provider" || (idleness === undefined && policy.spec.rules.some(asksForToken));
}

/** A namespace and its own policies that may require tokens. */
const tokenPoliciesOfNamespace = relation(
  "tokenPoliciesOfNamespace",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) =>
    mayRequireToken(policy, settings) ? [policy.metadata.namespace, everywhere] : [],
  ),
);
/** A RequestAuthentication of the root namespace, which applies to the whole mesh, and these policies of all namespaces. */
const tokenPoliciesOfMesh = relation(
  "tokenPoliciesOfMesh",
  index("RequestAuthentication", (authentication, settings) => {
    const isMeshWide = authentication.metadata.namespace === settings.rootNamespace;
    return isMeshWide && isServed(authentication, settings) ? [everywhere] : [];
  }),
  tokenPoliciesOfNamespace.to,
);

/** The policies of a namespace that may require tokens. */
const tokenDemands = fact(
  "tokenDemands",
  "Namespace",
  [tokenPoliciesOfNamespace, ...readsPlaced],
  (namespace, mesh) =>
    new PoliciesTogether(mesh.related(tokenPoliciesOfNamespace, namespace).map((policy) => placed(policy, mesh))),
);
/** Those of all namespaces. */
const tokenDemandsOfMesh = fact(
  "tokenDemandsOfMesh",
  "key",
  [tokenPoliciesOfMesh, ...readsPlaced],
  (key, mesh) => new PoliciesTogether(mesh.under(tokenPoliciesOfMesh, [key]).map((policy) => placed(policy, mesh))),
);

/** A namespace and its own policies that allow requests, or deny all by default. */
const allowPoliciesOfNamespace = relation(
  "allowPoliciesOfNamespace",
  namespaceByName,
  index("AuthorizationPolicy", (policy, settings) =>
    actionOf(policy) === "ALLOW" && isEnforced(policy, settings) ? [policy.metadata.namespace] : [],
  ),
);

/** Whether a policy without rules and without a selector denies all requests of a namespace, and the policies that admit some. */
const admissionIn = fact(
  "admissionIn",
  "Namespace",
  [allowPoliciesOfNamespace, ...readsPlaced],
  (namespace, mesh): { readonly isClosed: boolean; readonly admitting: PoliciesTogether } => {
    const all = mesh.related(allowPoliciesOfNamespace, namespace);
    return {
      isClosed: all.some(isForAllWorkloadsAndNobody),
      admitting: new PoliciesTogether(
        all.filter(({ spec }) => spec.rules.length > 0).map((policy) => placed(policy, mesh)),
      ),
    };
  },
);
const isForAllWorkloadsAndNobody = (policy: AuthorizationPolicy): boolean =>
  policy.spec.rules.length === 0 &&
  targetRefsOf(policy).length === 0 &&
  Object.keys(matchLabelsOf(policy)).length === 0;

const reads = [
  admissionIn,
  namespaceOfRequestAuthentication,
  namespacesTogether,
  rootOfNamespace,
  tokenDemands,
  tokenDemandsOfMesh,
  ...readsPlaced,
  captured,
] as const;

/** Then no token is validated at all, which selector-reaches-only-ztunnel reports. */
function isOnlyForZtunnel(authentication: RequestAuthentication, mesh: MeshView<(typeof reads)[number]>): boolean {
  const [namespace] = mesh.related(namespaceOfRequestAuthentication, authentication);
  const isKnown = namespace !== undefined && mesh.knowsAll("Workload") && targetRefsOf(authentication).length === 0;
  return isKnown && mesh.get(captured, namespace).isOnlyAmbient(authentication.spec.selector?.matchLabels ?? {});
}

/**
 * Whether all requests to its workloads are denied, with a token and without. Policies without targets leave waypoints alone, and
 * one of the root namespace applies to workloads that are not looked at here.
 */
function isClosed(here: Placed, mesh: MeshView<(typeof reads)[number]>): boolean {
  if (here.policy.kind !== "RequestAuthentication" || targetRefsOf(here.policy).length > 0) return false;
  const [namespace] = mesh.related(namespaceOfRequestAuthentication, here.policy);
  if (namespace === undefined) return false;
  const all = [namespace, ...mesh.related(rootOfNamespace, namespace)].map((one) => mesh.get(admissionIn, one));
  return all.some((one) => one.isClosed) && !all.some(({ admitting }) => admitting.meet(here));
}

/** All mesh-wide RequestAuthentications are compared with one list of policies, which is indexed once. */
function demandsOn(
  authentication: RequestAuthentication,
  mesh: MeshView<(typeof reads)[number]>,
): readonly PoliciesTogether[] {
  const [namespace] = mesh.related(namespaceOfRequestAuthentication, authentication);
  if (namespace === undefined) return [mesh.get(tokenDemandsOfMesh, everywhere)];
  // Where a waypoint decides, so does what targets it in its own namespace, or the Services of another one.
  const others = targetRefsOf(authentication).length === 0 ? [] : mesh.get(namespacesTogether, namespace);
  const all = [namespace, ...mesh.related(rootOfNamespace, namespace), ...others];
  return all.map((one) => mesh.get(tokenDemands, one));
}

export const requestAuthenticationNotRequired = defineRule({
  id: "request-authentication-not-required",
  subject: "RequestAuthentication",
  reads,
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization"],
  summary: "Tokens are validated if they are sent, but no policy requires one.",
  why: "A RequestAuthentication denies requests with an invalid token and accepts requests without a token (Istio pilot/pkg/security/authn/policy_applier.go JwtFilter, which allows missing tokens).",
  fix: 'Add an AuthorizationPolicy for the same workloads that requires a token: ALLOW from `requestPrincipals: ["*"]` (or one issuer\'s), or DENY from `notRequestPrincipals: ["*"]`.',
  incident: {
    symptoms: ["open-access"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "A request without a token gets an answer; one with a wrong token gets 401.",
    wayOut: "No request fails because of it. Require the token when the access log shows that all callers send one.",
    silentWhen:
      "Some AuthorizationPolicy for the same workloads has a condition on tokens, or action CUSTOM: its provider may require a token. A policy without rules and without a selector denies all requests, and none allows any to the workloads of a RequestAuthentication without targetRefs. ztunnel captures all of the workloads: then no token is validated, which selector-reaches-only-ztunnel reports.",
    page: "https://istio.io/latest/docs/tasks/security/authentication/authn-policy/",
  },

  *check(authentication, mesh) {
    const { metadata, spec } = authentication;
    if (spec.jwtRules.length === 0 || !isServed(authentication, mesh.settings)) return;
    if (isOnlyForZtunnel(authentication, mesh)) return;
    const here = placed(authentication, mesh);
    if (demandsOn(authentication, mesh).some((demands) => demands.meet(here)) || isClosed(here, mesh)) return;
    yield {
      at: ["spec", "jwtRules"],
      message: "No policy requires a token here, so requests without one are accepted",
      evidence: [absent("AuthorizationPolicy", metadata.namespace)],
    };
  },
});
