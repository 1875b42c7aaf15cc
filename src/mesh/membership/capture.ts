import type { ObjectOf } from "../../kube/object.ts";
import type { RevisionSettings } from "../../view/settings.ts";
import { injectedProxy } from "./injection-templates.ts";
import { dataplaneMode, injectSidecar, injectionLabel, revisionLabel, sidecarStatus } from "../objects/labels.ts";
import { isInjectorServed } from "./control-plane.ts";
import {
  type InjectorSettings,
  isAskedOfKnown,
  isInjectedByDefault,
  isInjectedOnRequest,
} from "./injector-selectors.ts";

type Namespace = ObjectOf<"Namespace">;
type Workload = ObjectOf<"Workload">;

/**
 * The enrollment of a namespace in the mesh, by its labels, the selectors of the injectors and their configuration.
 * - `ambient-and-sidecar`: both; pods that are injected have a sidecar, the others are ambient.
 * - `opted-out`: there is an enrollment label that enrolls nothing: `none`, `disabled`, a misspelt value.
 * - `none`: there is no enrollment label.
 * - `unknown`: the view does not contain the Namespace.
 */
export type Enrollment = "ambient" | "sidecar" | "ambient-and-sidecar" | "opted-out" | "none" | "unknown";

/** The data plane that captures a workload's traffic. */
export type Capture = "sidecar" | "ambient" | "none" | "unknown";

/** Istio pkg/kube/inject/initializer.go IgnoredNamespaces. */
export const neverInjected: ReadonlySet<string> = new Set([
  "kube-system",
  "kube-public",
  "kube-node-lease",
  "local-path-storage",
]);
/** `excludeNamespaces` of Istio's CNI agent (manifests/charts/istio-cni/values.yaml). */
const neverAmbient: ReadonlySet<string> = new Set(["kube-system"]);

/** The enrollment of a namespace: what becomes of pods that have no labels about it. */
export function enrollmentOf(namespace: Namespace, settings: InjectorSettings): Enrollment {
  if (namespace.implied) return "unknown";
  const isAmbient = isAmbientNamespace(namespace);
  // Conditions of webhooks leave out some pods: the others have sidecars.
  const isInjected =
    !neverInjected.has(namespace.metadata.name) && isInjectedByDefault(noLabels, namespace, settings) !== false;
  if (isAmbient && isInjected) return "ambient-and-sidecar";
  if (isAmbient) return "ambient";
  if (isInjected) return "sidecar";
  const { labels } = namespace.metadata;
  const isSpokenOf = [dataplaneMode, injectionLabel, revisionLabel].some((label) => labels[label] !== undefined);
  return isSpokenOf ? "opted-out" : "none";
}

const noLabels: Readonly<Record<string, string>> = Object.freeze({});

/** Without known injectors: how the labels of a namespace alone enroll it. */
export const byLabelsAlone: InjectorSettings = { injection: {} };

/** Whether a namespace enrolls any pods in the mesh; undefined: its labels are not known. */
export function isEnrolled(namespace: Namespace, settings: InjectorSettings): boolean | undefined {
  const enrollment = enrollmentOf(namespace, settings);
  return enrollment === "unknown" ? undefined : enrollment !== "none" && enrollment !== "opted-out";
}

/** Why what depends on an unknown capture only warns, as the rest of a sentence that begins with "because". */
export const unknownCapture = "it is not known whether its pods are in the mesh";

/**
 * Whether a pod of this workload has a sidecar (the selectors of Istio's mutating webhook, see isInjectedOnRequest, then
 * pkg/kube/inject/inject.go injectRequired), else whether ztunnel captures its traffic (cni/pkg/util/enablement_selector.go
 * Matches with the selectors of manifests/charts/istio-cni/values.yaml). For a template, the result is for pods that are created
 * now; running pods keep their sidecar until they are recreated. A Pod that exists has a sidecar if it shows one. Every revision
 * that a label names is assumed to have an injector.
 */
export const captureOf = (workload: Workload, namespace: Namespace | undefined, settings: InjectorSettings): Capture =>
  captureBy(workload, namespace, (known) => isInjected(workload, known, settings));

/** The same, where a pod of a revision that is neither a control plane nor a tag gets no sidecar. */
export const servedCaptureOf = (
  workload: Workload,
  namespace: Namespace | undefined,
  settings: RevisionSettings,
): Capture =>
  captureBy(workload, namespace, (known) => {
    const isAsked = isInjected(workload, known, settings);
    if (isAsked !== true || known === undefined || hasSidecar(workload)) return isAsked;
    const { labels } = workload.pod;
    return isAskedOfKnown(labels, known, settings) || isInjectorServed(labels, known, settings);
  });

function captureBy(
  workload: Workload,
  namespace: Namespace | undefined,
  isWithProxyIn: (known: Namespace | undefined) => boolean | undefined,
): Capture {
  if (isMachine(workload)) return workload.pod.hasProxyContainer ? "sidecar" : "none";
  if (workload.pod.hostNetwork) return "none";
  const known = namespace?.implied ? undefined : namespace;
  return captureOfPods(workload, known, isWithProxyIn(known));
}

function captureOfPods(workload: Workload, known: Namespace | undefined, isWithProxy: boolean | undefined): Capture {
  // ztunnel leaves all injected pods alone, whatever the injector made of them.
  if (isWithProxy === true) return injectedProxy(workload.pod) === "sidecar" ? "sidecar" : "none";
  if (isWithProxy === undefined) return "unknown";
  const isAmbient = isAmbientWorkload(workload, known);
  if (isAmbient === undefined) return "unknown";
  return isAmbient ? "ambient" : "none";
}

/**
 * Whether the injector is asked about these pods and wants to inject them, with whichever templates; undefined: that depends on a
 * Namespace which the view does not contain, or on conditions. Every revision that a label names is assumed to have an injector.
 */
export function isAskedFor(
  workload: Workload,
  namespace: Namespace | undefined,
  settings: InjectorSettings,
): boolean | undefined {
  if (isMachine(workload) || workload.pod.hostNetwork) return false;
  return isInjected(workload, namespace?.implied ? undefined : namespace, settings);
}

/** What stands for a machine outside the cluster: a WorkloadEntry, or an endpoint in a ServiceEntry. */
export type MachineKind = "WorkloadEntry" | "Endpoint";
const machineKinds: ReadonlySet<string> = new Set<MachineKind>(["WorkloadEntry", "Endpoint"]);
const isMachine = ({ originKind }: Workload): boolean => machineKinds.has(originKind);

/** Whether ztunnel captures pods of this workload that have no sidecar, such as pods from before injection was enabled. */
export const mayRunAmbient = (workload: Workload, namespace: Namespace): boolean =>
  !workload.pod.hostNetwork && isAmbientWorkload(workload, namespace) === true;

/** Whether a workload itself opts out of the mesh, regardless of its namespace. */
export function staysOut(workload: Workload): boolean {
  const { pod } = workload;
  if (pod.hostNetwork) return true;
  if (hasSidecar(workload)) return false;
  if (pod.labels[dataplaneMode] === "ambient" && !isBarredFromAmbient(pod)) return false;
  return refusesInjection(pod) || injectedProxy(pod) !== "sidecar" || pod.labels[dataplaneMode] === "none";
}

/** Whether no injector gives these pods a proxy, whatever their namespace says. */
export const refusesInjection = (pod: Workload["pod"]): boolean => injectionWish(pod) === "false";

/**
 * Whether a Pod was injected: the injector sets the annotation and adds the container. Anyone may set the annotation, but
 * nobody can add a container to a Pod that exists. In a template, the annotation shows nothing: the injector overwrites it
 * (Istio pkg/kube/inject/inject.go stripPod).
 */
export const hasSidecar = ({ originKind, pod }: Workload): boolean =>
  originKind === "Pod" &&
  pod.annotations[sidecarStatus] !== undefined &&
  pod.hasProxyContainer &&
  injectedProxy(pod) === "sidecar";

/** The injector sees a Pod only when it is created, and the API server gives it a uid then. */
export const isTooLateForInjection = ({ originKind, metadata }: Workload): boolean =>
  originKind === "Pod" && metadata.uid !== undefined;

/** ztunnel leaves pods with this annotation alone, whoever wrote it (Istio cni/pkg/util/podutil.go podHasSidecar). */
const isBarredFromAmbient = ({ annotations }: Workload["pod"]): boolean => annotations[sidecarStatus] !== undefined;

export const isAmbientNamespace = ({ metadata }: Namespace): boolean =>
  metadata.labels[dataplaneMode] === "ambient" && !neverAmbient.has(metadata.name);

/** The label takes precedence over the older annotation, even if it is empty. */
const injectionWish = ({ labels, annotations }: Workload["pod"]): string | undefined =>
  labels[injectSidecar] ?? annotations[injectSidecar];

/** Undefined: that depends on a Namespace which the view does not contain, or on conditions of the injector's webhooks. */
function isInjected(
  workload: Workload,
  namespace: Namespace | undefined,
  settings: InjectorSettings,
): boolean | undefined {
  const { pod, metadata } = workload;
  if (hasSidecar(workload)) return true;
  if (isTooLateForInjection(workload)) return false;
  if (neverInjected.has(metadata.namespace) || refusesInjection(pod)) return false;
  // What a pod says itself goes before the selectors and the policy of its injector.
  const isInjected = injectionWish(pod) === "true" ? isInjectedOnRequest : isInjectedByDefault;
  return namespace && isInjected(pod.labels, namespace, settings);
}

function isAmbientWorkload({ pod, metadata }: Workload, namespace: Namespace | undefined): boolean | undefined {
  if (neverAmbient.has(metadata.namespace) || isBarredFromAmbient(pod)) return false;
  const own = pod.labels[dataplaneMode];
  if (own === "ambient") return true;
  if (own === "none") return false;
  return namespace && isAmbientNamespace(namespace);
}
