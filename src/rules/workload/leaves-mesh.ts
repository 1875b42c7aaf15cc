import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import { type Capture, captureOf } from "../../mesh/membership/capture.ts";
import { interceptionOf, type PortLost, portsLost } from "../../mesh/membership/interception.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isProxy, namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { dataplaneMode, injectSidecar } from "../../mesh/objects/labels.ts";

const forClients =
  "For clients that cannot use mTLS (probes, scrapers), use a PeerAuthentication for the port, or write a MeshwardException with an end date.";

export const workloadLeavesMesh = defineRule({
  id: "workload-leaves-mesh",
  subject: "Workload",
  reads: [namespaceOfWorkload],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "Pods, or one of their ports, are no longer captured by the mesh.",
  why: "Traffic that neither a sidecar nor ztunnel captures reaches the container directly, without mTLS, without an identity and without any policy (Istio pkg/kube/inject/inject.go injectRequired, cni/pkg/util/enablement_selector.go Matches, tools/istio-iptables/pkg/capture/run.go). PeerAuthentications and AuthorizationPolicies still exist but have no effect.",
  fix: `Keep the pods and their ports in the mesh. ${forClients}`,

  *compare(before, after) {
    // Losses that the namespace causes are reported for the namespace.
    if (before.object === after.object) return;
    // Gateways and waypoints are part of the data plane and are not captured.
    if (isProxy(before.object)) return;
    const [namespace] = after.mesh.related(namespaceOfWorkload, after.object);
    if (namespace !== undefined && isTerminating(namespace)) return;
    const was = captureOf(before.object, namespace);
    const is = captureOf(after.object, namespace);
    if (was === "none") return;
    if (is === "none") yield leaves(before.object, after.object, was);
    else yield* losesPorts(before.object, after.object, [was, is]);
  },
});

function leaves(old: Workload, now: Workload, was: Capture): Problem {
  const { at, because, revert } = reasonOf(old, now);
  return {
    at,
    message: `${idOf(now)} leaves the mesh: ${because}; its pods accept all traffic, without mTLS or any policy`,
    key: "leaves the mesh",
    fix: `${revert} ${forClients}`,
    ...(was === "unknown" ? { atMost: "warn" } : {}),
  };
}

interface Reason {
  readonly at: Path;
  readonly because: string;
  /** The part of the fix that reverts it. */
  readonly revert: string;
}

function reasonOf({ pod: old }: Workload, { pod, podAt }: Workload): Reason {
  const labels = [...podAt, "metadata", "labels"];
  if (pod.hostNetwork && !old.hostNetwork)
    return {
      at: [...podAt, "spec", "hostNetwork"],
      because: "pods in the host network are not captured",
      revert: "Do not set hostNetwork.",
    };
  if (pod.labels[injectSidecar] === "false" && old.labels[injectSidecar] !== "false")
    return {
      at: [...labels, injectSidecar],
      because: `label ${injectSidecar} "false" disables the sidecar`,
      revert: `Remove the label ${injectSidecar}.`,
    };
  if (
    pod.annotations[injectSidecar] === "false" &&
    old.annotations[injectSidecar] !== "false" &&
    pod.labels[injectSidecar] === undefined
  )
    return {
      at: [...podAt, "metadata", "annotations", injectSidecar],
      because: `annotation ${injectSidecar} "false" disables the sidecar`,
      revert: `Remove the annotation ${injectSidecar}.`,
    };
  if (pod.labels[dataplaneMode] === "none" && old.labels[dataplaneMode] !== "none")
    return {
      at: [...labels, dataplaneMode],
      because: `label ${dataplaneMode} "none" leaves them out`,
      revert: `Remove the label ${dataplaneMode}.`,
    };
  return {
    at: labels,
    because: "the labels and annotations that enrolled them are removed",
    revert: "Keep the labels and annotations that enroll the pods.",
  };
}

function* losesPorts(old: Workload, now: Workload, [was, is]: readonly [Capture, Capture]): Iterable<Problem> {
  // If the namespace is not known, the pod's own label counts as soon as the pod has a sidecar.
  const planes: readonly Capture[] = is === "unknown" ? ["sidecar", "ambient"] : [is];
  for (const plane of planes) {
    const before = interceptionOf(old.pod, was === "unknown" ? plane : was);
    const after = interceptionOf(now.pod, plane);
    const annotation = annotationOf(after.by, now);
    for (const one of portsLost(old.pod, before, after)) yield losesPort(one, now, annotation, is === "unknown");
  }
}

const whichPorts: Readonly<Record<string | number, string>> = {
  all: "any port of",
  rest: "unlisted ports of",
};

/** The annotation that excludes ports, if the pod has it. Its text is created once for all ports. */
interface Annotation {
  readonly name: string;
  readonly shown: string;
}
function annotationOf(by: string | undefined, { pod }: Workload): Annotation | undefined {
  if (by === undefined || pod.annotations[by] === undefined) return undefined;
  return { name: by, shown: `: ${by} ${JSON.stringify(pod.annotations[by])}` };
}

function losesPort(
  { port, isCertain }: PortLost,
  workload: Workload,
  annotation: Annotation | undefined,
  isUnknown: boolean,
): Problem {
  const { podAt } = workload;
  return {
    at: annotation === undefined ? podAt : [...podAt, "metadata", "annotations", annotation.name],
    message: `Traffic to ${whichPorts[port] ?? `port ${port} of`} ${idOf(workload)} bypasses the mesh${annotation?.shown ?? ""}`,
    key: `port ${port}`,
    ...(annotation === undefined ? {} : { fix: `Change or remove the annotation ${annotation.name}. ${forClients}` }),
    ...(isCertain && !isUnknown ? {} : { atMost: "warn" }),
  };
}
