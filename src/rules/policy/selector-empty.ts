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
  summary: "A policy with an empty selector holds for sidecars and for nothing in ambient mode.",
  why: "Sidecars take `selector: {}` for no selector. istiod gives ztunnel the policy as one that selects workloads by labels, without any, and it is enforced nowhere (Istio pilot/pkg/serviceregistry/ambient/authorization.go convertAuthorizationPolicy, workloads.go buildWorkloadPolicies); a mesh-wide PeerAuthentication like this counts for no ambient pod of another namespace (workloads.go fetchPeerAuthentications). Nothing says so.",
  fix: "Leave `selector` out: that is the whole namespace, or the whole mesh in the root namespace.",

  *check(object, mesh) {
    if (object.kind === "AuthorizationPolicy") yield* ofAuthorizationPolicy(object, mesh);
    else yield* ofPeerAuthentication(object, mesh);
  },
});

/** With empty `matchLabels` in it, the selector works. */
function* ofAuthorizationPolicy(policy: AuthorizationPolicy, mesh: View): Iterable<Problem> {
  const { selector } = policy.spec;
  if (selector === undefined || selector.matchLabels !== undefined || !isEnforced(policy, mesh.settings)) return;
  const isMeshWide = policy.metadata.namespace === mesh.settings.rootNamespace;
  const namespace = ambientOf(mesh.related(namespacesOfAuthorizationPolicy, policy), isMeshWide, mesh);
  if (namespace === undefined) return;
  const where = isMeshWide ? "no ambient workload" : `no workload of namespace ${namespace.metadata.name}`;
  const consequence =
    actionOf(policy) === "DENY" ? "it denies nothing there" : "nothing is denied there for want of it";
  yield problemOf(namespace, `ztunnel enforces a policy with an empty selector for ${where}: ${consequence}`);
}

/** In their own namespace others work; those that are not STRICT demand nothing anyway. */
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
      "A mesh-wide policy with an empty selector is STRICT for sidecars alone: ambient workloads of other namespaces accept plaintext as before",
    );
}

const problemOf = (namespace: Namespace, message: string): Problem => ({
  at: ["spec", "selector"],
  message,
  key: "empty selector",
  evidence: [namespace],
  ...(namespace.implied ? { atMost: "warn" } : {}),
});

/** One that has ambient workloads. A policy's own namespace may have some, where its labels are not known. */
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
