import type { Path } from "../../kube/read.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";
import { type Capture, type Enrollment, hasSidecar, isTooLateForInjection, neverInjected } from "./capture.ts";
import { refusalText } from "./injection-policy.ts";
import { injectedProxy } from "./injection-templates.ts";
import { type InjectorSettings, injectorRefusal } from "./injector-selectors.ts";
import {
  dataplaneMode,
  enrollmentLabels,
  injectSidecar,
  injectTemplates,
  injectionLabel,
  revisionLabel,
  sidecarStatus,
} from "../objects/labels.ts";

type Namespace = ObjectOf<"Namespace">;
type Workload = ObjectOf<"Workload">;

const written = (labels: Labels, keys: readonly string[]): readonly string[] =>
  keys.flatMap((key) => (labels[key] === undefined ? [] : [`${key}=${labels[key]}`]));

/** The labels that decide the enrollment of a namespace, as `key=value`; empty if there is no such label. */
export function enrollmentEvidence(namespace: Namespace, enrollment: Enrollment): readonly string[] {
  const said = written(namespace.metadata.labels, enrollmentLabels);
  // With istio-injection, the revision label of the namespace is ignored.
  const hasInjection = namespace.metadata.labels[injectionLabel] !== undefined;
  const counting = said.filter((label) => !(hasInjection && label.startsWith("istio.io/rev=")));
  if (enrollment === "ambient") return counting.filter((label) => label.startsWith("istio.io/dataplane-mode="));
  if (enrollment === "sidecar") return counting.filter((label) => !label.startsWith("istio.io/dataplane-mode="));
  return counting;
}

const unknownBy = (namespace: Namespace | undefined): string =>
  namespace === undefined || namespace.implied
    ? "the labels of its namespace are not known"
    : "matchConditions of the injector's webhook decide, which are not evaluated";

/** Explains a result of captureOf for users: `label istio.io/dataplane-mode=none of the pod`. */
export function captureEvidence(
  workload: Workload,
  { namespace, settings }: { readonly namespace: Namespace | undefined; readonly settings: InjectorSettings },
  capture: Capture,
): string {
  const { pod } = workload;
  if (capture === "unknown") return unknownBy(namespace);
  if (pod.hostNetwork) return "its pods use the host's network";
  if (capture === "sidecar" && hasSidecar(workload))
    return `annotation ${sidecarStatus} of the pod: it has a sidecar already`;
  const labels = namespace?.metadata.labels ?? {};
  if (capture === "none") return refusedBy(workload, namespace, settings) ?? leftOutBy(workload, labels);
  return capture === "ambient" ? ambientBy(pod) : sidecarBy(pod, labels);
}

const ambientBy = ({ labels }: Workload["pod"]): string =>
  `label istio.io/dataplane-mode=ambient of the ${labels[dataplaneMode] === "ambient" ? "pod" : "namespace"}`;

/** If the namespace has a label about injection, that label decides; otherwise the pod's own label does, or no label at all. */
function sidecarBy({ labels }: Workload["pod"], ofNamespace: Labels): string {
  const [said] = written(ofNamespace, [injectionLabel, revisionLabel]);
  if (said !== undefined) return `label ${said} of the namespace`;
  const [own] = written(labels, [revisionLabel, injectSidecar]);
  return own === undefined ? "a webhook of an injector selects it without any label" : `label ${own} of the pod`;
}

/** The configuration of the injector, if that is what leaves out a pod which does not speak of injection itself. */
function refusedBy(
  { pod, metadata }: Workload,
  namespace: Namespace | undefined,
  settings: InjectorSettings,
): string | undefined {
  if (namespace === undefined || refusalOf(pod) !== undefined || neverInjected.has(metadata.namespace))
    return undefined;
  const refusal = injectorRefusal(pod.labels, namespace, settings);
  return refusal && `${refusalText(refusal)} in the configuration of the injector`;
}

function leftOutBy(workload: Workload, ofNamespace: Labels): string {
  const { pod, metadata } = workload;
  const own = refusalOf(pod);
  if (own !== undefined) return `${own} of the pod`;
  if (neverInjected.has(metadata.namespace)) return `Istio leaves namespace ${metadata.namespace} out of the mesh`;
  const said = written(ofNamespace, enrollmentLabels);
  if (said.length === 0) return "no label of the namespace or the pod enrolls it";
  return isTooLateForInjection(workload)
    ? "the pod was created without a sidecar"
    : `${said.join(", ")} of the namespace enrolls nothing`;
}

/** The labels and annotations of a pod that keep it out of the mesh. */
function refusalOf(pod: Workload["pod"]): string | undefined {
  const wish = pod.labels[injectSidecar] ?? pod.annotations[injectSidecar];
  const asked = [
    ...(wish === "false" ? [`${injectSidecar}=false`] : []),
    ...(pod.labels[dataplaneMode] === "none" ? [`${dataplaneMode}=none`] : []),
    ...(injectedProxy(pod) === "sidecar" ? [] : [`annotation ${injectTemplates}=${pod.annotations[injectTemplates]}`]),
    ...(pod.annotations[sidecarStatus] === undefined ? [] : [`annotation ${sidecarStatus}`]),
  ];
  return asked.length === 0 ? undefined : asked.join(" and ");
}

/** The field of a workload that keeps its pods out of the mesh; empty: it is none of its own. */
export function reasonAt({ pod, podAt }: Workload): Path {
  const metadata = [...podAt, "metadata"];
  if (pod.hostNetwork) return [...podAt, "spec", "hostNetwork"];
  if (pod.labels[injectSidecar] === "false") return [...metadata, "labels", injectSidecar];
  if (pod.labels[dataplaneMode] === "none") return [...metadata, "labels", dataplaneMode];
  if (pod.annotations[injectSidecar] === "false") return [...metadata, "annotations", injectSidecar];
  return [];
}
