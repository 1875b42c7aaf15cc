import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { captureOf } from "../../mesh/membership/capture.ts";
import { templatesOf } from "../../mesh/membership/injection-templates.ts";
import {
  bypassInboundCapture,
  excludeInboundPorts,
  includeInboundPorts,
  interceptionMode,
  statusPort,
} from "../../mesh/membership/interception.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { portIn, portsIn } from "../../mesh/membership/port-lists.ts";
import { hasInjectedGateway, isOwned, namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import { dataplaneMode, injectSidecar, injectTemplates } from "../../mesh/objects/labels.ts";
import { isBoolean } from "../../mesh/objects/parse-bool.ts";

export const workloadAnnotationInvalid = defineRule({
  id: "workload-annotation-invalid",
  subject: "Workload",
  reads: [namespaceOfWorkload],
  onlyOwnChanges: true,
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary:
    "A label or annotation about injection or redirection has a value that Istio refuses or ignores, or is not in the pod template.",
  why: "The injector refuses pods with invalid annotations, so that no new pod is created (Istio pkg/kube/inject/validate.go AnnotationValidation, pkg/kube/inject/inject.go RunTemplate), and ignores other values silently (pkg/kube/inject/inject.go injectRequired, cni/pkg/util/podutil.go CheckBooleanAnnotation). iptables reads a port with a leading zero as an octal number, and fails for one that is none (tools/istio-iptables/pkg/capture/run.go). All of them are read from the pod: on the Deployment itself they mean nothing.",
  fix: "Correct the value, or remove the label or annotation. Those of a workload belong into `spec.template.metadata`.",
  incident: {
    symptoms: ["pods-refused", "outside-mesh"],
    proxies: ["sidecar", "ztunnel"],
    seen: "With a value that the injector refuses, a rollout stops and the old pods go on. With one that it ignores, pods start without what was asked for.",
    wayOut: "`kubectl rollout undo` the workload.",
    silentWhen: "The pods are not injected, or another workload created this one.",
    page: "https://istio.io/latest/docs/reference/config/annotations/",
  },

  *check(workload, mesh) {
    if (isOwned(workload)) return;
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (namespace !== undefined && isTerminating(namespace)) return;
    const capture = captureOf(workload, namespace);
    if (capture === "sidecar" || hasInjectedGateway(workload)) yield* refused(workload);
    if (capture === "sidecar") yield* ignoredWish(workload);
    if (capture === "ambient") yield* ignoredFlag(workload);
    yield* misplaced(workload, capture === "none");
  },
});

/** The annotations that the injector or iptables reads, and whether they accept a value. */
const accepts: Readonly<Record<string, (value: string) => boolean>> = {
  [excludeInboundPorts]: (value) => portsIn(value) !== undefined,
  [includeInboundPorts]: (value) => value === "*" || portsIn(value) !== undefined,
  "traffic.sidecar.istio.io/excludeOutboundPorts": (value) => portsIn(value) !== undefined,
  [statusPort]: (value) => portIn(value) !== undefined,
  [interceptionMode]: (value) => ["REDIRECT", "TPROXY", "NONE"].includes(value),
};

function* refused(workload: Workload): Iterable<Problem> {
  const { annotations } = workload.pod;
  for (const [name, isValid] of Object.entries(accepts)) {
    const value = annotations[name];
    if (value !== undefined && !isValid(value))
      yield problemOf(workload, name, "which Istio refuses: no new pod of it starts");
  }
  if (templatesOf(workload.pod)?.includes("") === true)
    yield problemOf(workload, injectTemplates, "which names no template: the injector refuses its pods");
}

/** The label goes before the annotation, and an empty value is none. */
function* ignoredWish(workload: Workload): Iterable<Problem> {
  const { labels, annotations } = workload.pod;
  const wish = labels[injectSidecar] ?? annotations[injectSidecar] ?? "";
  if (wish === "" || wish === "true") return;
  const kind = labels[injectSidecar] === undefined ? "annotations" : "labels";
  yield problemOf(workload, injectSidecar, 'which has no effect: only "true" and "false" count', kind);
}

function* ignoredFlag(workload: Workload): Iterable<Problem> {
  const value = workload.pod.annotations[bypassInboundCapture];
  if (value !== undefined && !isBoolean(value))
    yield problemOf(workload, bypassInboundCapture, "which has no effect: it is no boolean");
}

/** What Istio reads from pods (Istio pkg/kube/inject, cni/pkg/util/podutil.go). */
const ofPods = /^(?:traffic\.sidecar|sidecar|proxy|inject|ambient)\.istio\.io\/|^istio\.io\/dataplane-mode$/;

/** Those that only the workload has. Where it is not in the mesh, only what would bring it there matters. */
function* misplaced({ metadata, pod, podAt }: Workload, isOutside: boolean): Iterable<Problem> {
  if (podAt.length === 0) return;
  for (const kind of ["labels", "annotations"] as const)
    for (const [name, value] of Object.entries(metadata[kind])) {
      if (!ofPods.test(name) || pod.labels[name] !== undefined || pod.annotations[name] !== undefined) continue;
      if (isOutside && !enrolls(name, value)) continue;
      yield {
        at: ["metadata", kind, name],
        message: `${name} ${JSON.stringify(value)} has no effect here: Istio reads it from pods, so it belongs into ${[...podAt, "metadata", kind].join(".")}`,
        key: `misplaced ${name}`,
      };
    }
}

const enrolls = (name: string, value: string): boolean =>
  (name === injectSidecar && value === "true") || (name === dataplaneMode && value === "ambient");

function problemOf(
  workload: Workload,
  name: string,
  effect: string,
  kind: "annotations" | "labels" = "annotations",
): Problem {
  return {
    at: [...workload.podAt, "metadata", kind, name],
    message: `${idOf(workload)} has ${name} ${JSON.stringify(workload.pod[kind][name])}, ${effect}`,
    key: name,
  };
}
