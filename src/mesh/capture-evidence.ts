import type { ObjectOf } from "../kube/kinds.ts";
import type { Capture, Enrollment } from "./ambient.ts";

type Namespace = ObjectOf<"Namespace">;
type Workload = ObjectOf<"Workload">;

const enrollmentLabels = ["istio.io/dataplane-mode", "istio-injection", "istio.io/rev"] as const;
const inject = "sidecar.istio.io/inject";
const injected = "sidecar.istio.io/status";

const written = (labels: Readonly<Record<string, string>>, keys: readonly string[]): readonly string[] =>
  keys.flatMap((key) => (labels[key] === undefined ? [] : [`${key}=${labels[key]}`]));

/** The labels of a namespace that an enrollment rests on, as `key=value`; none: no label speaks of it. */
export function enrollmentEvidence(namespace: Namespace, enrollment: Enrollment): readonly string[] {
  const said = written(namespace.metadata.labels, enrollmentLabels);
  // With istio-injection, the revision of the namespace counts for nothing.
  const hasInjection = namespace.metadata.labels["istio-injection"] !== undefined;
  const counting = said.filter((label) => !(hasInjection && label.startsWith("istio.io/rev=")));
  if (enrollment === "ambient") return counting.filter((label) => label.startsWith("istio.io/dataplane-mode="));
  if (enrollment === "sidecar") return counting.filter((label) => !label.startsWith("istio.io/dataplane-mode="));
  return counting;
}

/** What a capture (of captureOf) rests on, in words: `label istio.io/dataplane-mode=none of the pod`. */
export function captureEvidence(workload: Workload, namespace: Namespace | undefined, capture: Capture): string {
  const { pod } = workload;
  if (capture === "unknown") return "nobody has shown the labels of its namespace";
  if (pod.hostNetwork) return "its pods use the host's network";
  if (pod.annotations[injected] !== undefined) return `annotation ${injected} of the pod: it has a sidecar already`;
  const own = ownLabel(workload, capture);
  if (own !== undefined) return own;
  const said = namespace === undefined ? [] : written(namespace.metadata.labels, enrollmentLabels);
  if (capture === "none")
    return said.length === 0
      ? "no label of the namespace or the pod enrolls it"
      : `${said.join(", ")} of the namespace enrolls nothing`;
  const counting = said.filter((label) => label.startsWith("istio.io/dataplane-mode=") === (capture === "ambient"));
  return counting.length === 0 ? "its labels" : `label ${counting[0]} of the namespace`;
}

/** What the pod itself asks for, where it is this that decides. */
function ownLabel({ pod, metadata }: Workload, capture: Capture): string | undefined {
  const mode = pod.labels["istio.io/dataplane-mode"];
  if (capture === "ambient") return mode === "ambient" ? "label istio.io/dataplane-mode=ambient of the pod" : undefined;
  const wish = pod.labels[inject] ?? pod.annotations[inject];
  if (capture === "sidecar") return wish === "true" ? `${inject}=true of the pod` : undefined;
  const asked = [wish === "false" ? `${inject}=false` : "", refusal(mode)].filter((label) => label !== "");
  if (asked.length > 0) return `${asked.join(" and ")} of the pod`;
  const isSystem = systemNamespaces.has(metadata.namespace);
  return isSystem ? `Istio leaves namespace ${metadata.namespace} out of the mesh` : undefined;
}

const refusal = (mode: string | undefined): string => (mode === "none" ? "istio.io/dataplane-mode=none" : "");

/** Never injected (Istio pkg/kube/inject/initializer.go IgnoredNamespaces); the first is never ambient either. */
const systemNamespaces: ReadonlySet<string> = new Set([
  "kube-system",
  "kube-public",
  "kube-node-lease",
  "local-path-storage",
]);
