import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { parseFields } from "../../kube/mesh-config.ts";
import { isTooLong, proxyConfigAnnotation } from "../../kube/proxy-config.ts";
import { captureOf, isAskedFor, isTooLateForInjection, neverInjected } from "../../mesh/membership/capture.ts";
import { unknownFieldsOf, wrongTypeIn } from "../../mesh/membership/proxy-config-types.ts";
import {
  hasOnlyCustomTemplates,
  injectedProxy,
  misspeltTemplate,
  templatesOf,
} from "../../mesh/membership/injection-templates.ts";
import { acceptedByInjector } from "../../mesh/membership/injector-annotations.ts";
import { ambientRedirection, bypassInboundCapture } from "../../mesh/membership/interception.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { hasInjectedGateway, isOwned, namespaceOfWorkload, type Workload } from "../../mesh/membership/workloads.ts";
import {
  dataplaneMode,
  injectionLabel,
  injectSidecar,
  injectTemplates,
  revisionLabel,
} from "../../mesh/objects/labels.ts";
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
    "A label or annotation about injection or redirection has a value that Istio refuses or ignores, or is not in the pod template; or the pods are written for the template of gateways and do not name it.",
  why: "The injector refuses pods with invalid annotations, so that no new pod is created (Istio pkg/kube/inject/validate.go AnnotationValidation, pkg/kube/inject/inject.go RunTemplate), and ignores other values silently (pkg/kube/inject/inject.go injectRequired, cni/pkg/util/podutil.go CheckBooleanAnnotation, cni/pkg/util/enablement_selector.go Matches). It is not even asked about pods that the selectors of its webhook leave out: where the namespace has no label about injection, they look for the label `sidecar.istio.io/inject` and not for the annotation (manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml). A field that a proxy config does not have is ignored (pkg/util/protomarshal/protomarshal.go ApplyJSON). iptables reads a port with a leading zero as an octal number, and fails for one that is none (tools/istio-iptables/pkg/capture/run.go). All of them are read from the pod: on the Deployment itself they mean nothing. And `istio-injection` is read from namespaces alone. `ambient.istio.io/redirection` is the word of the agent of istio-cni, which istiod and the agent believe whoever wrote it (pilot/pkg/serviceregistry/ambient/workloads.go setTunnelProtocol, cni/pkg/nodeagent/informers.go reconcilePod).",
  fix: "Correct the value, or remove the label or annotation. Those of a workload belong into `spec.template.metadata`, and where the namespace has no label about injection, `sidecar.istio.io/inject` has to be a label.",
  incident: {
    symptoms: ["pods-refused", "outside-mesh"],
    proxies: ["sidecar", "ztunnel"],
    seen: "With a value that the injector refuses, a rollout stops and the old pods go on. With one that it ignores, pods start without what was asked for.",
    wayOut: "`kubectl rollout undo` the workload.",
    silentWhen:
      "Another workload created this one, or it is not known whether the pods are injected. A template that Istio does not have, and whose name is like none of Istio's, may be one of the installation. Of pods that nothing injects, only the wish to be injected is judged, and of a proxy config the types of its fields, but not addresses and what istiod wants of several fields together.",
    page: "https://istio.io/latest/docs/reference/config/annotations/",
  },

  *check(workload, mesh) {
    if (isOwned(workload)) return;
    const [namespace] = mesh.related(namespaceOfWorkload, workload);
    if (namespace !== undefined && isTerminating(namespace)) return;
    const capture = captureOf(workload, namespace, mesh.settings);
    const isAsked = isAskedFor(workload, namespace, mesh.settings);
    yield* aboutInjection(workload, namespace, isAsked);
    if (capture === "ambient") yield* ignoredFlag(workload);
    yield* ignoredMode(workload, capture === "none");
    yield* claimedRedirection(workload);
    yield* ofNamespaces(workload, isAsked);
    yield* misplaced(workload, capture === "none" && isAsked !== true);
  },
});

function* aboutInjection(
  workload: Workload,
  namespace: Namespace | undefined,
  isAsked: boolean | undefined,
): Iterable<Problem> {
  if (isAsked ?? hasInjectedGateway(workload)) yield* refused(workload);
  if (isAsked === true) yield* asSidecar(workload);
  if (isAsked === true) yield* ignoredWish(workload);
  else if (isAsked === false && !isTooLateForInjection(workload)) yield* vainWish(workload, namespace);
}

function* refused(workload: Workload): Iterable<Problem> {
  const { annotations } = workload.pod;
  for (const [name, accepts] of Object.entries(acceptedByInjector)) {
    const value = annotations[name];
    if (value !== undefined && !accepts(value))
      yield problemOf(workload, name, "which Istio refuses: no new pod of it starts");
  }
  yield* ofProxyConfig(workload);
  if (templatesOf(workload.pod)?.includes("") === true)
    yield problemOf(workload, injectTemplates, "which names no template: the injector refuses its pods");
  const misspelt = misspeltTemplate(workload.pod);
  if (misspelt !== undefined)
    yield problemOf(
      workload,
      injectTemplates,
      `and Istio has no template ${JSON.stringify(misspelt.name)}, for which the injector refuses its pods; did you mean ${JSON.stringify(misspelt.meant)}?`,
    );
}

/** Pods that are written for a gateway: the injector adds everything to their only container, which has the name of the proxy. */
function* asSidecar({ metadata, originKind, pod, podAt }: Workload): Iterable<Problem> {
  if (!pod.hasProxyContainer || pod.hasOtherContainers) return;
  if (injectedProxy(pod) !== "sidecar" || hasOnlyCustomTemplates(pod)) return;
  yield {
    at: [...podAt, "metadata", "annotations"],
    message: `${originKind} ${metadata.namespace}/${metadata.name} runs as a sidecar without an application, which serves no Gateway: its only container is istio-proxy, and the template is not "gateway"`,
    key: "gateway without its template",
    fix: `Set the annotation \`${injectTemplates}: gateway\` of the pods.`,
  };
}

function* ofProxyConfig(workload: Workload): Iterable<Problem> {
  const { annotations } = workload.pod;
  const text = annotations[proxyConfigAnnotation];
  if (text === undefined || isTooLong(annotations)) return;
  const config = parseFields(text, "a proxy config", []);
  const unread = wrongTypeIn(config);
  if (unread !== undefined)
    yield problemOf(
      workload,
      proxyConfigAnnotation,
      `of which Istio cannot read ${unread.field}, which must be ${unread.expected}: no new pod of it starts`,
    );
  for (const field of unknownFieldsOf(config))
    yield {
      ...problemOf(
        workload,
        proxyConfigAnnotation,
        `of which Istio ignores ${field}: a proxy config has no such field`,
      ),
      key: `${proxyConfigAnnotation} ${field}`,
    };
}

/** The label goes before the annotation, and an empty value is none. */
const wishOf = ({ labels, annotations }: Workload["pod"]): string =>
  labels[injectSidecar] ?? annotations[injectSidecar] ?? "";
const placeOfWish = ({ labels }: Workload["pod"]) => (labels[injectSidecar] === undefined ? "annotations" : "labels");

const onlyTwoCount = 'which has no effect: only "true" and "false" count';

function* ignoredWish(workload: Workload): Iterable<Problem> {
  const wish = wishOf(workload.pod);
  if (wish !== "" && wish !== "true") yield problemOf(workload, injectSidecar, onlyTwoCount, placeOfWish(workload.pod));
}

/** What somebody writes who wants to stay outside. Where the pods are outside anyway, the wish is fulfilled. */
const meansNo = /^(?:|f|false|0|no?|none|off|disabled?)$/i;

/** A pod that no injector is asked about, although it wants to be injected. */
function* vainWish(workload: Workload, namespace: Namespace | undefined): Iterable<Problem> {
  const { pod } = workload;
  const wish = wishOf(pod);
  if (wish === "true")
    yield problemOf(
      workload,
      injectSidecar,
      `which has no effect: ${whyNotAsked(workload, namespace)}`,
      placeOfWish(pod),
    );
  else if (!meansNo.test(wish)) yield problemOf(workload, injectSidecar, onlyTwoCount, placeOfWish(pod));
  else if (wish === "" && templatesOf(pod) !== undefined)
    yield problemOf(workload, injectTemplates, `which has no effect: ${whyNotAsked(workload, namespace)}`);
}

/** The first reason of Istio's injector and of the selectors of its webhook. */
function whyNotAsked({ pod, metadata }: Workload, namespace: Namespace | undefined): string {
  if (pod.hostNetwork) return "pods in the host network are never injected";
  if (neverInjected.has(metadata.namespace)) return `pods of namespace ${metadata.namespace} are never injected`;
  const labels = namespace?.metadata.labels ?? {};
  for (const name of [injectionLabel, revisionLabel])
    if (labels[name] !== undefined)
      return `label ${name} ${JSON.stringify(labels[name])} of the namespace decides, and it injects no pods`;
  if (pod.labels[revisionLabel] === "") return `label ${revisionLabel} of the pods is empty`;
  return `the namespace has no label about injection, so that only the label ${injectSidecar} "true" of the pods counts`;
}

/** The label with which a namespace asks for injection, or refuses it, where it says something else than what happens. */
function* ofNamespaces({ metadata, pod, podAt }: Workload, isAsked: boolean | undefined): Iterable<Problem> {
  if (isAsked === undefined) return;
  const places = [
    [[...podAt, "metadata", "labels"], pod.labels],
    ...(podAt.length === 0 ? [] : [[["metadata", "labels"], metadata.labels] as const]),
  ] as const;
  for (const [at, labels] of places) {
    const wish = labels[injectionLabel];
    if (wish !== (isAsked ? "disabled" : "enabled")) continue;
    const own = `${injectSidecar} ${isAsked ? '"false"' : '"true"'}`;
    yield {
      at: [...at, injectionLabel],
      message: `${injectionLabel} ${JSON.stringify(wish)} has no effect here: Istio reads it from namespaces, and pods have the label ${own} for it`,
      key: `of namespaces ${at.join(".")}`,
    };
    return;
  }
}

function* ignoredFlag(workload: Workload): Iterable<Problem> {
  const value = workload.pod.annotations[bypassInboundCapture];
  if (value !== undefined && !isBoolean(value))
    yield problemOf(workload, bypassInboundCapture, "which has no effect: it is no boolean");
}

/** Any other value than these two is as good as no label. */
function* ignoredMode(workload: Workload, isOutside: boolean): Iterable<Problem> {
  const mode = workload.pod.labels[dataplaneMode] ?? "";
  if (mode === "ambient") {
    if (workload.pod.hostNetwork)
      yield problemOf(
        workload,
        dataplaneMode,
        "which has no effect: ztunnel captures no pods in the host network",
        "labels",
      );
  } else if (mode !== "none" && mode !== "" && !(isOutside && meansNo.test(mode)))
    yield problemOf(workload, dataplaneMode, 'which has no effect: only "ambient" and "none" count', "labels");
}

/**
 * The agent finds nothing to do for a pod that has the annotation and is to be captured (Istio cni/pkg/nodeagent/informers.go
 * reconcilePod), and istiod sends clients to the HBONE port of any pod that has it (pilot/pkg/serviceregistry/ambient/workloads.go
 * setTunnelProtocol). A Pod may have it from the agent.
 */
function* claimedRedirection(workload: Workload): Iterable<Problem> {
  if (workload.pod.annotations[ambientRedirection] === "enabled" && workload.originKind !== "Pod")
    yield problemOf(
      workload,
      ambientRedirection,
      "which only the agent of istio-cni may set: clients use HBONE for the pods before ztunnel captures them, and the agent does not capture those that it missed",
    );
}

/** What Istio reads from pods (Istio pkg/kube/inject, cni/pkg/util/podutil.go, pilot/pkg/serviceregistry/ambient/workloads.go). */
const ofPods =
  /^(?:(?:traffic\.|(?:readiness\.)?status\.)?sidecar|proxy|inject|ambient|prometheus)\.istio\.io\/|^istio\.io\/(?:dataplane-mode|use-waypoint(?:-namespace)?|reroute-virtual-interfaces)$/;

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
