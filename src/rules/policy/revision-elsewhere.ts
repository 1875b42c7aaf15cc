import { defineRule } from "../../engine/rule.ts";
import type { Kind } from "../../kube/kinds.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { controlPlanesIn } from "../../mesh/membership/control-planes-in.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { revisionLabel } from "../../mesh/objects/labels.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

/** A policy with a revision that some control plane has; those of the root namespace are for every namespace. */
const labelled = <K extends "PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication">(kind: K) =>
  index(kind, (policy: ObjectOf<K>, settings) => {
    const { namespace, labels } = policy.metadata;
    const isHere = labels[revisionLabel] !== undefined && namespace !== settings.rootNamespace;
    return isHere && isServed(policy as ObjectOf<Kind>, settings) ? [namespace] : [];
  });

/** A PeerAuthentication with a revision, and its namespace. */
const namespaceOfRevisedPeerAuthentication = relation(
  "namespaceOfRevisedPeerAuthentication",
  labelled("PeerAuthentication"),
  namespaceByName,
);
/** An AuthorizationPolicy with a revision, and its namespace. */
const namespaceOfRevisedAuthorizationPolicy = relation(
  "namespaceOfRevisedAuthorizationPolicy",
  labelled("AuthorizationPolicy"),
  namespaceByName,
);
/** A RequestAuthentication with a revision, and its namespace. */
const namespaceOfRevisedRequestAuthentication = relation(
  "namespaceOfRevisedRequestAuthentication",
  labelled("RequestAuthentication"),
  namespaceByName,
);

const reads = [
  namespaceOfRevisedPeerAuthentication,
  namespaceOfRevisedAuthorizationPolicy,
  namespaceOfRevisedRequestAuthentication,
  controlPlanesIn,
] as const;
type Policy = ObjectOf<"PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication">;

export const policyRevisionElsewhere = defineRule({
  id: "policy-revision-elsewhere",
  subject: ["PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"],
  reads,
  worksWithout: ["Workload", "PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"],
  mode: "warn",
  since: "0.1.0",
  tags: ["revisions"],
  summary: "A policy is for another revision than that of the workloads of its namespace, so it has no effect on them.",
  why: "A control plane reads only objects without `istio.io/rev` and those with its own revision (Istio pkg/config/model.go LabelsInRevision), and configures the sidecars that it injects (`istio.io/rev` or `istio-injection` of the namespace, through tags), or ztunnel. A policy that another control plane reads protects none of them.",
  fix: "Remove the label, so that every control plane reads the policy, or set it to the revision of the namespace's workloads.",
  incident: {
    symptoms: ["no-effect", "open-access"],
    proxies: ["sidecar", "ztunnel"],
    seen: "The sidecars of the namespace do not have the policy: `istioctl proxy-config listeners POD.NAMESPACE -o json` does not show it.",
    wayOut: "Remove the label `istio.io/rev` from the policy.",
    silentWhen:
      "The control plane of the namespace is not known, or some of its workloads use the revision of the policy.",
    page: "https://istio.io/latest/docs/setup/upgrade/canary/",
  },

  *check(policy, mesh) {
    for (const namespace of namespacesOf(policy, mesh)) {
      const controlPlanes = mesh.get(controlPlanesIn, namespace);
      const revision = policy.metadata.labels[revisionLabel];
      if (isTerminating(namespace) || controlPlanes.size === 0 || controlPlanes.has(revision)) continue;
      const others = [...controlPlanes].map((one) => JSON.stringify(one)).sort();
      yield {
        at: ["metadata", "labels", revisionLabel],
        message: `Only revision ${JSON.stringify(revision)} reads the ${policy.originKind}, and the workloads of namespace ${namespace.metadata.name} have ${others.join(" and ")}`,
        key: "revision elsewhere",
        evidence: [namespace],
        onlyWarns: "it may be prepared for workloads that move to its revision, or be left from them",
      };
    }
  },
});

function namespacesOf(policy: Policy, mesh: MeshView<(typeof reads)[number]>): readonly Namespace[] {
  if (policy.kind === "PeerAuthentication") return mesh.related(namespaceOfRevisedPeerAuthentication, policy);
  return policy.kind === "AuthorizationPolicy"
    ? mesh.related(namespaceOfRevisedAuthorizationPolicy, policy)
    : mesh.related(namespaceOfRevisedRequestAuthentication, policy);
}
