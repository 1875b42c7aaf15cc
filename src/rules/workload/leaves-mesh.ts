import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import { type Capture, captureOf } from "../../mesh/membership/capture.ts";
import { interceptionOf, type PortLost, portsLost } from "../../mesh/membership/interception.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isProxy, namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { dataplaneMode, injectSidecar } from "../../mesh/objects/labels.ts";

export const workloadLeavesMesh = defineRule({
  id: "workload-leaves-mesh",
  subject: "Workload",
  reads: [namespaceOfWorkload],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "Pods that the mesh captured, or a port of them, are captured no longer.",
  why: "What neither a sidecar nor ztunnel takes reaches the container as it comes: without mTLS, without identity, past every policy (Istio pkg/kube/inject/inject.go injectRequired, cni/pkg/util/enablement_selector.go Matches, tools/istio-iptables/pkg/capture/run.go). PeerAuthentications and AuthorizationPolicies stay in place and do nothing.",
  fix: "Take the opt-out back. Let what cannot speak mTLS (probes, scrapers) in by a PeerAuthentication for its port, or write a MeshwardException with an end date.",

  *compare(before, after) {
    // Gateways and waypoints are data plane themselves: nothing captures them.
    if (isProxy(before.object)) return;
    const [namespace] = after.mesh.related(namespaceOfWorkload, after.object);
    if (namespace !== undefined && isTerminating(namespace)) return;
    // What the namespace takes away is said of the namespace.
    const was = captureOf(before.object, namespace);
    const is = captureOf(after.object, namespace);
    if (was === "none") return;
    if (is === "none") yield leaves(before.object, after.object, was);
    else yield* losesPorts(before.object, after.object, [was, is]);
  },
});

function leaves(old: Workload, now: Workload, was: Capture): Problem {
  const { at, because } = reasonOf(old, now);
  return {
    at,
    message: `${idOf(now)} leaves the mesh: ${because}; its pods take whatever reaches them, without mTLS or any policy`,
    key: "leaves the mesh",
    ...(was === "unknown" ? { atMost: "warn" } : {}),
  };
}

interface Reason {
  readonly at: Path;
  readonly because: string;
}

function reasonOf({ pod: old }: Workload, { pod, podAt }: Workload): Reason {
  const labels = [...podAt, "metadata", "labels"];
  if (pod.hostNetwork && !old.hostNetwork)
    return { at: [...podAt, "spec", "hostNetwork"], because: "nothing captures pods in the network of their node" };
  if (pod.labels[injectSidecar] === "false" && old.labels[injectSidecar] !== "false")
    return { at: [...labels, injectSidecar], because: `label ${injectSidecar} "false" refuses the sidecar` };
  if (
    pod.annotations[injectSidecar] === "false" &&
    old.annotations[injectSidecar] !== "false" &&
    pod.labels[injectSidecar] === undefined
  )
    return {
      at: [...podAt, "metadata", "annotations", injectSidecar],
      because: `annotation ${injectSidecar} "false" refuses the sidecar`,
    };
  if (pod.labels[dataplaneMode] === "none" && old.labels[dataplaneMode] !== "none")
    return { at: [...labels, dataplaneMode], because: `label ${dataplaneMode} "none" leaves them out` };
  return { at: labels, because: "what took them in is gone from their labels and annotations" };
}

function* losesPorts(old: Workload, now: Workload, [was, is]: readonly [Capture, Capture]): Iterable<Problem> {
  // Where the namespace is not known, what the pod says of its sidecar counts as soon as it has one.
  const planes: readonly Capture[] = is === "unknown" ? ["sidecar", "ambient"] : [is];
  for (const plane of planes) {
    const before = interceptionOf(old.pod, was === "unknown" ? plane : was);
    const lost = portsLost(old.pod, before, interceptionOf(now.pod, plane));
    for (const one of lost) yield losesPort(one, now, is === "unknown");
  }
}

const whichPorts: Readonly<Record<string | number, string>> = {
  all: "any port of",
  rest: "ports that are not listed of",
};

function losesPort({ port, by, isCertain }: PortLost, workload: Workload, isUnknown: boolean): Problem {
  const { podAt, pod } = workload;
  const annotation = by !== undefined && pod.annotations[by] !== undefined;
  return {
    at: annotation ? [...podAt, "metadata", "annotations", by] : podAt,
    message: `What arrives at ${whichPorts[port] ?? `port ${port} of`} ${idOf(workload)} goes past the mesh${annotation ? `: ${by} ${JSON.stringify(pod.annotations[by])}` : ""}`,
    key: `port ${port}`,
    ...(isCertain && !isUnknown ? {} : { atMost: "warn" }),
  };
}
