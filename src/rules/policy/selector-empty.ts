import { defineRule, type Problem } from "../../engine/rule.ts";
import { captureOf, enrollmentOf } from "../../mesh/membership/capture.ts";
import { actionOf, type AuthorizationPolicy, isEnforced } from "../../mesh/authorization/policies.ts";
import { namespacesOfPeerAuthentication, type PeerAuthentication } from "../../mesh/mtls/effective-mtls.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { declared, hasNoSelector, isWide } from "../../mesh/mtls/peer-authentications.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshView } from "../../view/view.ts";
import { isProxy, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { namespacesOfAuthorizationPolicy } from "../../mesh/waypoints/ztunnel-scope.ts";

const reads = [namespacesOfAuthorizationPolicy, namespacesOfPeerAuthentication, workloadsOfNamespace] as const;
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
  why: "For sidecars, `selector: {}` means no selector. For ztunnel, istiod converts it into a policy that selects workloads by labels but has no labels, and it is enforced nowhere (Istio pilot/pkg/serviceregistry/ambient/authorization.go convertAuthorizationPolicy, workloads.go buildWorkloadPolicies); such a mesh-wide PeerAuthentication applies to no ambient pod of another namespace (workloads.go fetchPeerAuthentications). Istio does not report this.",
  fix: "Remove `selector` to apply the policy to the whole namespace, or to the whole mesh in the root namespace.",

  *check(object, mesh) {
    if (object.kind === "AuthorizationPolicy") yield* ofAuthorizationPolicy(object, mesh);
    else yield* ofPeerAuthentication(object, mesh);
  },
});

const consequences: ReadonlyMap<string, string> = new Map([
  ["ALLOW", "it is no default deny there"],
  ["DENY", "it denies nothing there"],
]);

/** With empty `matchLabels` in it, the selector works. */
function* ofAuthorizationPolicy(policy: AuthorizationPolicy, mesh: View): Iterable<Problem> {
  const { selector } = policy.spec;
  if (selector === undefined || selector.matchLabels !== undefined || !isEnforced(policy, mesh.settings)) return;
  const isMeshWide = policy.metadata.namespace === mesh.settings.rootNamespace;
  const namespace = ambientOf(mesh.related(namespacesOfAuthorizationPolicy, policy), isMeshWide, mesh);
  if (namespace === undefined) return;
  const where = isMeshWide ? "no ambient workload" : `no workload of namespace ${namespace.metadata.name}`;
  const consequence = consequences.get(actionOf(policy)) ?? "it has no effect there";
  yield problemOf(namespace, `The selector is empty, so ztunnel enforces the policy for ${where}: ${consequence}`);
}

/** Only mesh-wide policies have the problem, and only with STRICT does it matter. */
function* ofPeerAuthentication(policy: PeerAuthentication, mesh: View): Iterable<Problem> {
  const { rootNamespace } = mesh.settings;
  if (policy.metadata.namespace !== rootNamespace || !isServed(policy, mesh.settings)) return;
  if (hasNoSelector(policy) || !isWide(policy) || declared(policy.spec.mtls) !== "STRICT") return;
  const others = mesh
    .related(namespacesOfPeerAuthentication, policy)
    .filter(({ metadata }) => metadata.name !== rootNamespace);
  const namespace = others.find((one) => enrollmentOf(one) === "ambient" && !isTerminating(one));
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
  ...(namespace.implied ? { atMost: "warn" } : {}),
});

/** A namespace with ambient workloads. If the labels of the policy's own namespace are not known, it may have some. */
function ambientOf(
  namespaces: readonly Namespace[],
  isMeshWide: boolean,
  mesh: MeshView<typeof workloadsOfNamespace>,
): Namespace | undefined {
  const there = namespaces.filter((namespace) => !isTerminating(namespace));
  return there.find((namespace) => hasAmbient(namespace, mesh) || (!isMeshWide && namespace.implied));
}

function hasAmbient(namespace: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): boolean {
  if (enrollmentOf(namespace) === "ambient") return true;
  return mesh
    .related(workloadsOfNamespace, namespace)
    .some((workload) => !isProxy(workload) && captureOf(workload, namespace) === "ambient");
}
