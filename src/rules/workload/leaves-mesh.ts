import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { proxyConfigAnnotation } from "../../kube/proxy-config.ts";
import type { Path } from "../../kube/read.ts";
import {
  type Capture,
  captureOf,
  servedCaptureOf,
  isTooLateForInjection,
  unknownCapture,
} from "../../mesh/membership/capture.ts";
import {
  type Interception,
  interceptionOf,
  mayPassSidecar,
  type PortLost,
  portsLost,
  withBound,
} from "../../mesh/membership/interception.ts";
import { type Refusal, refusalText } from "../../mesh/membership/injection-policy.ts";
import { injectorRefusal } from "../../mesh/membership/injector-selectors.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { hasOnlyCustomTemplates, injectedProxy } from "../../mesh/membership/injection-templates.ts";
import {
  isOfGateway,
  isProxy,
  namespaceOfWorkload,
  owningGateway,
  type Workload,
} from "../../mesh/membership/workloads.ts";
import {
  dataplaneMode,
  injectSidecar,
  injectTemplates,
  managedGateway,
  revisionLabel,
  sidecarStatus,
} from "../../mesh/objects/labels.ts";
import { objectsOfRevision, revisionReads } from "../../mesh/objects/revision.ts";
import { boundPorts, sidecarsOfPassing } from "../../mesh/traffic/bound-ports.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";

const forClients =
  "For clients that cannot use mTLS (probes, scrapers), use a PeerAuthentication for the port, or write a MeshwardException with an end date.";

const reads = [namespaceOfWorkload, sidecarsOfPassing, ...revisionReads] as const;
interface Side {
  readonly object: Workload;
  readonly mesh: MeshView<(typeof reads)[number]>;
}

export const workloadLeavesMesh = defineRule({
  id: "workload-leaves-mesh",
  subject: "Workload",
  reads,
  worksWithout: ["Sidecar"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "Pods, or one of their ports, are no longer captured by the mesh.",
  why: "Traffic that neither a sidecar nor ztunnel captures reaches the container directly, without mTLS, without an identity and without any policy (Istio pkg/kube/inject/inject.go injectRequired, cni/pkg/util/enablement_selector.go Matches, tools/istio-iptables/pkg/capture/run.go). PeerAuthentications and AuthorizationPolicies still exist but have no effect.",
  fix: `Keep the pods and their ports in the mesh. ${forClients}`,
  incident: {
    symptoms: ["outside-mesh"],
    proxies: ["sidecar", "ztunnel"],
    seen: "The new pods accept calls without a certificate, and policies do not apply to them. Their own calls to STRICT workloads fail.",
    wayOut: "`kubectl rollout undo` the workload.",
    silentWhen:
      "The labels of the namespace are the cause (namespace-leaves-mesh), the workload was outside before (workload-outside-mesh), or it is a gateway.",
    page: "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
  },

  *compare(before, after) {
    // Losses that the namespace causes are reported for the namespace.
    if (before.object === after.object) {
      yield* losesListeners(before, after);
      return;
    }
    // Gateways and waypoints are part of the data plane and are not captured. A workload that only becomes one leaves.
    if (isProxy(before.object)) return;
    const [namespace] = after.mesh.related(namespaceOfWorkload, after.object);
    if (namespace !== undefined && isTerminating(namespace)) return;
    const { settings } = after.mesh;
    const was = servedCaptureOf(before.object, namespace, settings);
    const is = servedCaptureOf(after.object, namespace, settings);
    if (was === "none") return;
    const isInjectorAsked = captureOf(after.object, namespace, settings) === "sidecar";
    if (is === "none" && isInjectorAsked) yield losesInjector(after.object);
    else if (is === "none" || isProxy(after.object))
      yield leaves(before.object, after.object, { was, refusal: refusalIn(namespace, after.object, settings) });
    else {
      yield* losesPorts(before, after, [was, is]);
      yield* mayLoseSidecar(before.object, after.object, is);
    }
  },
});

interface Leaving {
  readonly was: Capture;
  /** Why the injector leaves the pods alone. */
  readonly refusal: Refusal | undefined;
}

const refusalIn = (namespace: Namespace | undefined, { pod }: Workload, settings: MeshSettings): Refusal | undefined =>
  namespace && injectorRefusal(pod.labels, namespace, settings);

function leaves(old: Workload, now: Workload, { was, refusal }: Leaving): Problem {
  const { at, because, revert } = reasonOf(old, now, refusal);
  return {
    at,
    topic: "outside the mesh",
    message: `${idOf(now)} leaves the mesh: ${because}; its pods accept all traffic, without mTLS or any policy`,
    key: "leaves the mesh",
    fix: `${revert} ${forClients}`,
    ...(was === "unknown" ? { onlyWarns: unknownCapture } : {}),
  };
}

/** The namespace has no label about injection, because that of the pods would have no effect otherwise. */
function losesInjector(now: Workload): Problem {
  const name = now.pod.labels[revisionLabel] ?? "default";
  const revision = JSON.stringify(name);
  const { config, tag } = objectsOfRevision(name);
  return {
    at: [...now.podAt, "metadata", "labels"],
    message: `${idOf(now)} leaves the mesh: there is neither a control plane nor a tag for revision ${revision}; its pods accept all traffic, without mTLS or any policy`,
    key: "leaves the mesh",
    fix: `Install a control plane with revision ${revision} first, or use the revision or a tag of an existing one.`,
    evidence: [absent("MeshConfig", "istio-system", config), absent("AdmissionWebhook", "", tag)],
  };
}

interface Reason {
  readonly at: Path;
  readonly because: string;
  /** The part of the fix that reverts it. */
  readonly revert: string;
}

function reasonOf(old: Workload, now: Workload, refusal: Refusal | undefined): Reason {
  const own = claimsGateway(now) ?? refusesCapture(old, now) ?? replacesSidecar(old, now);
  return own ?? (refusal === undefined ? changesLabels(now) : isRefused(now, refusal));
}

const isRefused = ({ podAt }: Workload, refusal: Refusal): Reason => ({
  at: [...podAt, "metadata", "labels"],
  because: `${refusalText(refusal)} in the configuration of the injector`,
  revert: `Keep the labels of the pods, or label them \`${injectSidecar}: "true"\`, which goes before that configuration.`,
});

/** Labels that were removed, or that ask for injection with the templates that the pods had before. */
const changesLabels = ({ pod, podAt }: Workload): Reason => ({
  at: [...podAt, "metadata", "labels"],
  ...(injectedProxy(pod) === "sidecar"
    ? {
        because: "the labels and annotations that enrolled them are removed",
        revert: "Keep the labels and annotations that enroll the pods.",
      }
    : {
        because: "they now have a proxy that does not capture their traffic",
        revert: `Remove the annotation ${injectTemplates}, or the labels that request injection.`,
      }),
});

function claimsGateway(now: Workload): Reason | undefined {
  const gateway = isOfGateway(now) ? owningGateway(now) : undefined;
  if (gateway === undefined) return undefined;
  return {
    at: ["metadata", "ownerReferences"],
    because: `it looks like the proxy that istiod runs for Gateway ${gateway.name}`,
    revert: `Remove the owner reference to the Gateway and the label ${managedGateway}.`,
  };
}

function refusesCapture({ pod: old }: Workload, { pod, podAt }: Workload): Reason | undefined {
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
  return undefined;
}

/** Annotations with which the pods have no sidecar, although nothing refuses it. */
function replacesSidecar({ pod: old }: Workload, { pod, podAt }: Workload): Reason | undefined {
  const of = (name: string, effect: string): Reason => ({
    at: [...podAt, "metadata", "annotations", name],
    because: `annotation ${name} ${JSON.stringify(pod.annotations[name])} ${effect}`,
    revert: `Remove the annotation ${name}.`,
  });
  if (injectedProxy(pod) !== "sidecar" && injectedProxy(old) === "sidecar")
    return of(injectTemplates, "replaces the sidecar by a proxy that does not capture their traffic");
  if (pod.annotations[sidecarStatus] !== undefined && old.annotations[sidecarStatus] === undefined)
    return of(sidecarStatus, "makes ztunnel leave them alone, and gives them no sidecar");
  return undefined;
}

/** The injector's configuration is not known, and may have a sidecar under any name. */
function* mayLoseSidecar({ pod: old }: Workload, now: Workload, is: Capture): Iterable<Problem> {
  if (is !== "sidecar" || !hasOnlyCustomTemplates(now.pod) || hasOnlyCustomTemplates(old)) return;
  yield {
    at: [...now.podAt, "metadata", "annotations", injectTemplates],
    message: `${idOf(now)} no longer uses the template "sidecar": ${injectTemplates} ${JSON.stringify(now.pod.annotations[injectTemplates])}; without a proxy in one of these templates, its pods leave the mesh`,
    key: "injection templates",
    fix: `Name the template "sidecar" first, as in "sidecar,<name>".`,
    onlyWarns: "Meshward does not read the injection templates",
  };
}

/** The ports that annotations keep from the sidecar, and at which a Sidecar no longer has it listen itself. */
function* losesListeners(before: Side, after: Side): Iterable<Problem> {
  const { object, mesh } = after;
  if (!mayPassSidecar(object.pod) || isProxy(object)) return;
  const [namespace] = mesh.related(namespaceOfWorkload, object);
  if (namespace === undefined || isTerminating(namespace)) return;
  const [was, is] = [before, after].map((side) => captureOf(side.object, namespace, side.mesh.settings));
  if (was === "sidecar" && is === "sidecar") yield* losesPorts(before, after, [was, is]);
}

function* losesPorts(before: Side, after: Side, [was, is]: readonly [Capture, Capture]): Iterable<Problem> {
  const [old, now] = [before.object, after.object];
  // If the namespace is not known, the pod's own label counts as soon as the pod has a sidecar.
  const planes: readonly Capture[] = is === "unknown" ? ["sidecar", "ambient"] : [is];
  const shown = new Map<string, Annotation>();
  for (const plane of planes) {
    // The redirection of a running pod is set up once, from the annotations that it had when it was created.
    if (plane === "sidecar" && isTooLateForInjection(now) && old !== now) continue;
    const there = arriving(before, was === "unknown" ? plane : was);
    for (const { port, by } of portsLost(old.pod, there, arriving(after, plane), now.pod)) {
      const annotation = annotationOf(by, now, shown);
      yield { ...losesPort(port, now, annotation), ...(is === "unknown" ? { onlyWarns: unknownCapture } : {}) };
    }
  }
}

/** What arrives at the proxy: what is redirected to it, and what it listens to itself. */
function arriving({ object, mesh }: Side, capture: Capture): Interception {
  const redirected = interceptionOf(object.pod, capture);
  return capture === "sidecar" ? withBound(redirected, boundPorts(object, mesh)) : redirected;
}

const whichPorts: Readonly<Record<string | number, string>> = {
  all: "any port of",
  rest: "unlisted ports of",
};

/** The annotation that excludes ports, if the pod has it. Its text is created once for all ports. */
interface Annotation {
  readonly name: string;
  readonly text: string;
}
function annotationOf(
  by: string | undefined,
  { pod }: Workload,
  shown: Map<string, Annotation>,
): Annotation | undefined {
  if (by === undefined || pod.annotations[by] === undefined) return undefined;
  let annotation = shown.get(by);
  if (annotation === undefined) {
    // A proxy config has many fields, of which only this one makes traffic bypass the mesh.
    const value = by === proxyConfigAnnotation ? "interceptionMode: NONE" : pod.annotations[by];
    shown.set(by, (annotation = { name: by, text: `: ${by} ${JSON.stringify(value)}` }));
  }
  return annotation;
}

function losesPort(port: PortLost["port"], workload: Workload, annotation: Annotation | undefined): Problem {
  const { podAt } = workload;
  return {
    at: annotation === undefined ? podAt : [...podAt, "metadata", "annotations", annotation.name],
    topic: "outside the mesh",
    message: `Traffic to ${whichPorts[port] ?? `port ${port} of`} ${idOf(workload)} bypasses the mesh${annotation?.text ?? ""}`,
    key: `port ${port}`,
    ...(annotation === undefined ? {} : { fix: `Change or remove the annotation ${annotation.name}. ${forClients}` }),
  };
}
