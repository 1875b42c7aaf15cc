import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type Capture, captureOf, staysOut, unknownCapture } from "../../mesh/membership/capture.ts";
import { captureEvidence, reasonAt } from "../../mesh/membership/capture-evidence.ts";
import { interceptionOf, portsPassed, withBound } from "../../mesh/membership/interception.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { isOwned, isProxy, namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { boundPorts, sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import type { MeshSettings } from "../../view/settings.ts";

const forOthers =
  "For workloads that must stay outside (agents in the host network, Jobs), write a MeshwardException with an end date.";

export const workloadOutsideMesh = defineRule({
  id: "workload-outside-mesh",
  subject: "Workload",
  reads: [namespaceOfWorkload, sidecarsOfPassing],
  worksWithout: ["Sidecar"],
  // What the labels of the namespace cause is reported for the namespace, and not for each of its workloads.
  onlyOwnChanges: true,
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "The mesh does not capture the pods of a workload, or some of their ports.",
  why: "Traffic that neither a sidecar nor ztunnel captures reaches the container directly, without mTLS, without an identity and without any policy (Istio pkg/kube/inject/inject.go injectRequired, cni/pkg/util/enablement_selector.go Matches, tools/istio-iptables/pkg/capture/run.go). workload-leaves-mesh denies a change by which existing pods leave the mesh; this rule reports the state, so that a workload which is deleted and created again outside the mesh is found too.",
  fix: `Keep the pods and their ports in the mesh. ${forOthers}`,
  incident: {
    symptoms: ["outside-mesh"],
    proxies: ["sidecar", "ztunnel"],
    seen: "The pods accept calls without a certificate, and policies do not apply to them.",
    wayOut:
      "No request fails because of it. Remove the label or annotation and restart the workload, when its callers can use mTLS.",
    silentWhen:
      "The labels of the namespace are the cause (namespace-not-in-mesh), the workload is a gateway, or another workload owns it.",
    page: "https://istio.io/latest/docs/ops/common-problems/injection/",
  },

  *check(workload, mesh) {
    // Gateways and waypoints are part of the data plane, and the pods of an owned workload are those of its owner.
    if (isProxy(workload) || isOwned(workload)) return;
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    // The workloads of the root namespace are the control plane.
    if (workload.metadata.namespace === mesh.settings.rootNamespace) return;
    if (namespace !== undefined && isTerminating(namespace)) return;
    const capture = captureOf(workload, namespace, mesh.settings);
    if (capture === "none") yield outside(workload, namespace, mesh.settings);
    else yield* portsOutside(workload, capture, boundPorts(workload, mesh));
  },
});

/** If the labels of the namespace are the reason, it is read again before a denial. */
function outside(workload: Workload, namespace: Namespace | undefined, settings: MeshSettings): Problem {
  const isOwnReason = staysOut(workload) || namespace === undefined;
  return {
    ...common(workload),
    at: reasonAt(workload),
    message: `${idOf(workload)} is outside the mesh: ${captureEvidence(workload, { namespace, settings }, "none")}; its pods accept all traffic, without mTLS or any policy`,
    key: "outside the mesh",
    ...(isOwnReason
      ? {}
      : { evidence: [namespace], fix: `Enroll the namespace or the pods in the mesh. ${forOthers}` }),
  };
}

const common = (workload: Workload): Pick<Problem, "topic" | "acceptedWith"> => ({
  topic: "outside the mesh",
  acceptedWith: [{ rule: "workload-leaves-mesh", object: workload }],
});

/** If the namespace is not known, the pod's annotations count as soon as some data plane captures it. */
function* portsOutside(workload: Workload, capture: Capture, bound: ReadonlySet<number>): Iterable<Problem> {
  for (const plane of capture === "unknown" ? (["sidecar", "ambient"] as const) : [capture]) {
    const redirected = interceptionOf(workload.pod, plane);
    const interception = plane === "sidecar" ? withBound(redirected, bound) : redirected;
    const annotations = new Map<string | undefined, ReturnType<typeof annotationOf>>();
    for (const { port, by } of portsPassed(workload.pod, interception)) {
      const annotation = annotations.get(by) ?? annotationOf(workload, by);
      annotations.set(by, annotation);
      yield {
        ...annotation,
        message: `Traffic to ${whichPorts[port] ?? `port ${port} of`} ${idOf(workload)} bypasses the mesh${annotation.shown}`,
        key: `port ${port}`,
        ...(capture === "unknown" ? { onlyWarns: unknownCapture } : {}),
      };
    }
  }
}

const whichPorts: Readonly<Record<string | number, string>> = {
  all: "any port of",
  rest: "unlisted ports of",
};

/** What the problems of all ports have in common. */
function annotationOf(workload: Workload, name = ""): Omit<Problem, "message"> & { readonly shown: string } {
  const { pod, podAt } = workload;
  return {
    ...common(workload),
    at: [...podAt, "metadata", "annotations", name],
    shown: `: ${name} ${JSON.stringify(pod.annotations[name])}`,
    fix: `Change or remove the annotation ${name}, and exempt a port in a PeerAuthentication instead, so that policies still apply. ${forOthers}`,
  };
}
