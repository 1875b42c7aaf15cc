import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { captureOf, enrollmentOf, isEnrolled, staysOut } from "../../mesh/membership/capture.ts";
import { captureEvidence, enrollmentEvidence } from "../../mesh/membership/capture-evidence.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { dataplaneMode, enrollmentLabels } from "../../mesh/objects/labels.ts";

export const namespaceNotInMesh = defineRule({
  id: "namespace-not-in-mesh",
  subject: "Namespace",
  reads: [workloadsOfNamespace],
  worksWithout: ["Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "No label enrolls a namespace in the mesh, or some of its workloads opt out.",
  why: "Traffic of pods that neither a sidecar nor ztunnel captures reaches the container directly (Istio manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml, cni/pkg/util/enablement_selector.go Matches): PeerAuthentications and AuthorizationPolicies of the namespace have no effect. A namespace in which only gateways run needs no label. workload-outside-mesh reports workloads that opt out when they are written; this rule reports them when the Namespace is.",
  fix: `Label the namespace \`${dataplaneMode}: ambient\` or \`istio-injection: enabled\`, or do not protect it.`,

  *check(namespace, mesh) {
    // The workloads of the root namespace are the control plane.
    const isRoot = namespace.metadata.name === mesh.settings.rootNamespace;
    if (isRoot || namespace.implied || isTerminating(namespace)) return;
    const there = thereIn(namespace, mesh.related(workloadsOfNamespace, namespace));
    const isEveryOutside = there.outside.length === there.workloads.length;
    if (isLeftOut(namespace, there, mesh.knowsAll("Workload")))
      yield ofNamespace(namespace, isEveryOutside && there.workloads.length > 0);
    else for (const workload of there.outside) if (staysOut(workload)) yield ofWorkload(workload, namespace);
  },
});

interface There {
  readonly hasProxies: boolean;
  /** Without proxies. */
  readonly workloads: readonly Workload[];
  readonly outside: readonly Workload[];
}

function thereIn(namespace: Namespace, all: readonly Workload[]): There {
  const workloads = all.filter((workload) => !isProxy(workload));
  return {
    hasProxies: workloads.length < all.length,
    workloads,
    outside: workloads.filter((workload) => captureOf(workload, namespace) === "none"),
  };
}

/** Whether the labels of a namespace leave out workloads. A namespace in which only gateways run needs none. */
function isLeftOut(namespace: Namespace, { hasProxies, workloads, outside }: There, knowsAll: boolean): boolean {
  if (isEnrolled(namespace) !== false) return false;
  if (workloads.length === 0) return !(hasProxies && knowsAll);
  return outside.length === workloads.length || outside.some((workload) => !staysOut(workload));
}

/** An empty namespace may be one for gateways; and if some pods enroll themselves, workload-outside-mesh reports the others. */
function ofNamespace(namespace: Namespace, isCertain: boolean): Problem {
  const { name, labels } = namespace.metadata;
  const said = enrollmentEvidence(namespace, enrollmentOf(namespace)).join(", ");
  const because = said === "" ? "no label enrolls it" : `${said} enrolls nothing`;
  const label = enrollmentLabels.find((one) => labels[one] !== undefined);
  return {
    at: label === undefined ? [] : ["metadata", "labels", label],
    topic: "outside the mesh",
    message: `Namespace ${name} is not in the mesh: ${because}; its workloads accept all traffic, without mTLS or any policy`,
    key: "not in the mesh",
    acceptedWith: [{ rule: "namespace-leaves-mesh", object: namespace }],
    ...(isCertain ? {} : { atMost: "warn" }),
  };
}

function ofWorkload(workload: Workload, namespace: Namespace): Problem {
  return {
    at: [],
    topic: "outside the mesh",
    message: `${idOf(workload)} is outside the mesh: ${captureEvidence(workload, namespace, "none")}; its pods accept all traffic, without mTLS or any policy`,
    key: `${idOf(workload)} is outside the mesh`,
    evidence: [workload],
    acceptedWith: ["workload-outside-mesh", "workload-leaves-mesh"].map((rule) => ({ rule, object: workload })),
    fix: "Keep its pods in the mesh, or write a MeshwardException for workload-outside-mesh with an end date.",
  };
}
