import { defineRule, type Problem } from "../../engine/rule.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { ambientAmong, captured } from "../../mesh/membership/captured.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import type { PeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { declared, hasNoSelector, isWide } from "../../mesh/mtls/peer-authentications.ts";
import { namespaceByNameAndRoot } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A selector with empty `matchLabels` selects everything. */
function selectsNothing(policy: AuthorizationPolicy, settings: MeshSettings): boolean {
  const { selector } = policy.spec;
  const isEmpty = selector !== undefined && selector.matchLabels === undefined && targetRefsOf(policy).length === 0;
  return isEmpty && isEnforced(policy, settings);
}

/** An AuthorizationPolicy with an empty selector, and the namespaces that it applies to. */
const namespacesOfUnselectingPolicy = relation(
  "namespacesOfUnselectingPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    selectsNothing(policy, settings) ? [policy.metadata.namespace] : [],
  ),
  namespaceByNameAndRoot,
);

/**
 * A mesh-wide PeerAuthentication that is STRICT with an empty selector, and all namespaces. Others have an effect in their
 * own namespace, or require no mTLS.
 */
const namespacesOfUnselectingStrict = relation(
  "namespacesOfUnselectingStrict",
  index("PeerAuthentication", (policy, settings) => {
    const isMeshWide = policy.metadata.namespace === settings.rootNamespace && isWide(policy);
    const isStrict = isServed(policy, settings) && declared(policy.spec.mtls) === "STRICT";
    return isMeshWide && isStrict && !hasNoSelector(policy) ? [policy.metadata.namespace] : [];
  }),
  namespaceByNameAndRoot,
);

const reads = [namespacesOfUnselectingPolicy, namespacesOfUnselectingStrict, captured] as const;
type View = MeshView<(typeof reads)[number]>;

export const policySelectorEmpty = defineRule({
  id: "policy-selector-empty",
  subject: ["AuthorizationPolicy", "PeerAuthentication"],
  reads,
  worksWithout: ["Workload", "AuthorizationPolicy", "PeerAuthentication"],
  mode: { protected: "deny", elsewhere: "warn" },
  since: "0.1.0",
  tags: ["ambient", "deny-all-gap", "mtls"],
  summary: "A policy with an empty selector applies to sidecars, but not in ambient mode.",
  why: "For sidecars, `selector: {}` means no selector. For ztunnel, istiod converts it into a policy that selects workloads by labels but has no labels, and it is enforced nowhere (Istio pilot/pkg/serviceregistry/ambient/authorization.go convertAuthorizationPolicy, pilot/pkg/serviceregistry/ambient/workloads.go buildWorkloadPolicies); such a mesh-wide PeerAuthentication applies to no ambient pod of another namespace (pilot/pkg/serviceregistry/ambient/workloads.go fetchPeerAuthentications). Istio does not report this.",
  fix: "Remove `selector` to apply the policy to the whole namespace, or to the whole mesh in the root namespace.",
  incident: {
    symptoms: ["no-effect", "open-access"],
    proxies: ["ztunnel"],
    seen: "Ambient workloads do not obey the policy; workloads with sidecars do. `istioctl ztunnel-config policy` does not list it for them.",
    wayOut:
      "Remove the empty selector. Before you do so for a default deny, make sure that the callers that are needed are allowed: it denies from then on.",
    silentWhen: "Nothing that the policy applies to is ambient.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(object, mesh) {
    if (object.kind === "AuthorizationPolicy") yield* ofAuthorizationPolicy(object, mesh);
    else yield* ofPeerAuthentication(object, mesh);
  },
});

const consequences: ReadonlyMap<string, string> = new Map([
  ["ALLOW", "it is no default deny there"],
  ["DENY", "it denies nothing there"],
]);

function* ofAuthorizationPolicy(policy: AuthorizationPolicy, mesh: View): Iterable<Problem> {
  const isMeshWide = policy.metadata.namespace === mesh.settings.rootNamespace;
  const namespaces = mesh.related(namespacesOfUnselectingPolicy, policy);
  const namespace = withAmbient(namespaces, mesh) ?? (isMeshWide ? undefined : namespaces.find(isUnknown));
  if (namespace === undefined) return;
  const where = isMeshWide ? "no ambient workload" : `no workload of namespace ${namespace.metadata.name}`;
  const consequence = consequences.get(actionOf(policy)) ?? "it has no effect there";
  yield problemOf(namespace, `The selector is empty, so ztunnel enforces the policy for ${where}: ${consequence}`);
}

function* ofPeerAuthentication(policy: PeerAuthentication, mesh: View): Iterable<Problem> {
  const ambient = ambientAmong(mesh.related(namespacesOfUnselectingStrict, policy), mesh.settings);
  const namespace = ambient.find(({ metadata }) => metadata.name !== mesh.settings.rootNamespace);
  if (namespace !== undefined)
    yield problemOf(
      namespace,
      "A mesh-wide policy with an empty selector is STRICT only for sidecars: ambient workloads of other namespaces still accept plaintext",
    );
}

const problemOf = (namespace: Namespace, message: string): Problem => ({
  at: ["spec", "selector"],
  message,
  key: "empty selector",
  evidence: [namespace],
  ...(namespace.implied ? { onlyWarns: "it is not known whether the namespace is ambient" } : {}),
});

/** A policy's own namespace may have ambient workloads where its labels are not known. */
const isUnknown = (namespace: Namespace): boolean => namespace.implied === true && !isTerminating(namespace);

const found = new WeakMap<object, Map<readonly Namespace[], Namespace | undefined>>();

/** The first with ambient workloads. All mesh-wide policies relate to one list of namespaces, which is searched once. */
function withAmbient(namespaces: readonly Namespace[], mesh: MeshView<typeof captured>): Namespace | undefined {
  const known = found.get(mesh) ?? new Map<readonly Namespace[], Namespace | undefined>();
  found.set(mesh, known);
  if (!known.has(namespaces))
    known.set(
      namespaces,
      namespaces.find((one) => !isTerminating(one) && hasAmbient(one, mesh)),
    );
  return known.get(namespaces);
}

const noLabels: Readonly<Record<string, string>> = Object.freeze({});
const hasAmbient = (namespace: Namespace, mesh: MeshView<typeof captured>): boolean =>
  enrollmentOf(namespace, mesh.settings) === "ambient" ||
  mesh.get(captured, namespace).capturesOf(noLabels).has("ambient");
