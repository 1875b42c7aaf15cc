import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import {
  captureOf,
  type Enrollment,
  enrollmentOf,
  mayRunAmbient,
  servedCaptureOf,
} from "../../mesh/membership/capture.ts";
import { hasSameWebhooks } from "../../mesh/membership/injector-selectors.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import type { MeshView } from "../../view/view.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { injectorNamed } from "../../mesh/membership/control-plane.ts";
import { dataplaneMode, enrollmentLabels, revisionLabel } from "../../mesh/objects/labels.ts";
import { areRevisionsKnown, objectsOfRevision, revisionNamed, revisionReads } from "../../mesh/objects/revision.ts";

const reads = [workloadsOfNamespace, ...revisionReads] as const;
type View = MeshView<(typeof reads)[number]>;

export const namespaceLeavesMesh = defineRule({
  id: "namespace-leaves-mesh",
  subject: "Namespace",
  reads,
  worksWithout: ["Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "The labels that enroll a namespace in the mesh are removed or overridden.",
  why: "When the label is removed, ztunnel stops capturing running pods immediately (Istio cni/pkg/util/enablement_selector.go Matches). Sidecars stay until pods are recreated, and are not injected into new pods; a namespace that changes from ambient to sidecars has pods without either until they are recreated (manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml). Without either, mTLS is neither required nor offered, and PeerAuthentications and AuthorizationPolicies have no effect.",
  fix: "Keep the label. To migrate from sidecars to ambient, set `istio.io/dataplane-mode: ambient` in the change that removes `istio-injection` or `istio.io/rev`.",
  incident: {
    symptoms: ["outside-mesh"],
    proxies: ["sidecar", "ztunnel"],
    seen: "With ambient, at once: calls arrive without an identity, and policies do not apply. With sidecars: when pods are created.",
    wayOut:
      "Put the label back. ztunnel captures the pods again at once; pods that were created without a sidecar need `kubectl rollout restart`.",
    silentWhen:
      "The namespace is being deleted, only gateways run in it, its workloads enroll themselves, or the change from sidecars to ambient is made in one step.",
    page: "https://istio.io/latest/docs/ambient/usage/add-workloads/",
  },

  *compare(before, after) {
    const [old, now] = [before.object, after.object];
    // Then one of its workloads is changed, which workload-leaves-mesh checks.
    if (old === now && before.mesh.settings === after.mesh.settings) return;
    // A deleted namespace is an implied Namespace as long as the view contains objects in it.
    if (old.implied || now.implied || isTerminating(old) || isTerminating(now)) return;
    const left = planesLeft(before, after);
    if (left.length > 0) yield leaving(left, before, after);
    else yield* unservedRevision(before, after);
  },
});

function leaving(left: readonly Loss[], before: Side, after: Side): Problem {
  const [old, now] = [before.object, after.object];
  return {
    at: changedLabels(old, now).length === 0 ? [] : ["metadata", "labels"],
    topic: "outside the mesh",
    message: `Namespace ${now.metadata.name} leaves the mesh: ${reasonOf(old, now)}; ${left.map((loss) => consequences[loss]).join("; ")}`,
    key: "leaves the mesh",
    fix: fixOf(old, now, left),
    ...(left.every((loss) => loss === "maybe ambient")
      ? { onlyWarns: "it is not known whether the namespace is ambient" }
      : {}),
  };
}

/**
 * How workloads lose the mesh.
 * - `ambient`: ztunnel lets go of them.
 * - `running ambient`: the same, and new pods get a sidecar. Pods that run now have none until they are recreated.
 * - `maybe ambient`: the same for pods that were not recreated since the namespace injects sidecars. The view has no pods
 *   that a workload owns, so it is not known whether there are any.
 * - `sidecar`: new pods get no sidecar; pods that run now keep theirs.
 */
type Loss = "ambient" | "running ambient" | "maybe ambient" | "sidecar";
const consequences: Readonly<Record<Loss, string>> = {
  ambient: "ztunnel stops capturing its pods immediately",
  "running ambient": "ztunnel stops capturing its pods immediately, and they have no sidecar until they are recreated",
  "maybe ambient":
    "ztunnel stops capturing pods that were not recreated since sidecars are injected, and they have none",
  sidecar: "new pods get no sidecar",
};
const losses = ["ambient", "running ambient", "maybe ambient", "sidecar"] as const;

/** How workloads lose the mesh. If workloads are not known, one that follows the namespace is assumed. */
function planesLeft(before: Side, after: Side): readonly Loss[] {
  // What the ConfigMap of an injector changes is reported by namespace-injection-weakened.
  if (before.object === after.object && hasSameWebhooks(before.mesh.settings, after.mesh.settings)) return [];
  const left = new Set<Loss | undefined>();
  for (const workload of after.mesh.related(workloadsOfNamespace, after.object))
    if (!isProxy(workload)) left.add(lossOf(workload, before, after));
  if (!after.mesh.knowsAll("Workload")) left.add(lossOfEnrollment(enrollmentAt(before), enrollmentAt(after)));
  return losses.filter((loss) => left.has(loss));
}

const captureAt = (workload: Workload, { object, mesh }: Side) => captureOf(workload, object, mesh.settings);
const enrollmentAt = ({ object, mesh }: Side): Enrollment => enrollmentOf(object, mesh.settings);

function lossOf(workload: Workload, before: Side, after: Side): Loss | undefined {
  const [was, is] = [captureAt(workload, before), captureAt(workload, after)];
  if (is === "none") return was === "ambient" || was === "sidecar" ? was : undefined;
  // A Pod that exists has a sidecar only if it shows one.
  if (is !== "sidecar" || workload.originKind === "Pod") return undefined;
  if (!mayRunAmbient(workload, before.object) || mayRunAmbient(workload, after.object)) return undefined;
  return was === "ambient" ? "running ambient" : "maybe ambient";
}

function lossOfEnrollment(was: Enrollment, is: Enrollment): Loss | undefined {
  if (isOutside(is)) {
    if (was === "ambient-and-sidecar") return "sidecar";
    return was === "ambient" || was === "sidecar" ? was : undefined;
  }
  if (is !== "sidecar") return undefined;
  if (was === "ambient") return "running ambient";
  return was === "ambient-and-sidecar" ? "maybe ambient" : undefined;
}

const isOutside = (enrollment: Enrollment): boolean => enrollment === "none" || enrollment === "opted-out";

interface ChangedLabel {
  readonly label: string;
  readonly was: string | undefined;
  readonly is: string | undefined;
}

const changedLabels = ({ metadata: old }: Namespace, { metadata: now }: Namespace): readonly ChangedLabel[] =>
  enrollmentLabels
    .map((label) => ({ label, was: old.labels[label], is: now.labels[label] }))
    .filter(({ was, is }) => was !== is);

function reasonOf(old: Namespace, now: Namespace): string {
  const reasons = changedLabels(old, now).map(({ label, was, is }) => {
    if (is === undefined) return `${label} ${JSON.stringify(was)} is removed`;
    return was === undefined
      ? `${label} ${JSON.stringify(is)} is set`
      : `${label} changes from ${JSON.stringify(was)} to ${JSON.stringify(is)}`;
  });
  return reasons.length === 0 ? "no webhook of an injector selects its pods any more" : reasons.join(", ");
}

function fixOf(old: Namespace, now: Namespace, left: readonly Loss[]): string {
  const changes = changedLabels(old, now).map(({ label, was }) =>
    was === undefined ? `do not set ${label}` : `keep ${label} ${JSON.stringify(was)}`,
  );
  if (changes.length === 0)
    return "Label the namespace `istio-injection: enabled` first, or keep the webhook of the injector (`sidecarInjectorWebhook.enableNamespacesByDefault`).";
  const keep = `To stay in the mesh, ${changes.join(" and ")}.`;
  if (left.includes("running ambient") || left.includes("maybe ambient"))
    return `${keep} To migrate from ambient to sidecars, keep \`${dataplaneMode}: ambient\` next to the label that injects sidecars, restart the workloads, and remove it when every pod has a sidecar.`;
  return left.includes("sidecar") && now.metadata.labels[dataplaneMode] === undefined
    ? `${keep} To migrate from sidecars to ambient, set \`${dataplaneMode}: ambient\` in the same change.`
    : keep;
}

interface Side {
  readonly object: Namespace;
  readonly mesh: View;
}

/** New pods ask an injector that does not exist. If the control planes are not known, the label may be right. */
function* unservedRevision(before: Side, after: Side): Iterable<Problem> {
  const lost = injectorLost(before, after);
  if (lost === undefined) return;
  const { metadata } = after.object;
  // Without the last mesh config the control planes are not known any more, and those that were known are gone.
  const isKnown = areRevisionsKnown(after.mesh.settings) || before.object === after.object;
  const isLabel = metadata.labels[revisionLabel] === lost.name;
  const { config, tag } = objectsOfRevision(lost.name);
  yield {
    at: ["metadata", "labels", ...(isLabel ? [revisionLabel] : [])],
    ...(before.object === after.object
      ? revisionGone(metadata.name, lost.name)
      : movedTo(metadata.name, lost.name, isKnown)),
    key: "unserved revision",
    evidence: [absent("MeshConfig", "istio-system", config), absent("AdmissionWebhook", "", tag)],
    ...(isKnown && lost.isCertain
      ? {}
      : { onlyWarns: isKnown ? "no known pod asks for this injector yet" : "the control planes are not known" }),
  };
}

const revisionGone = (namespace: string, name: string): Pick<Problem, "message" | "fix"> => ({
  message: `Namespace ${namespace} loses revision ${JSON.stringify(name)}, for which there is neither a control plane nor a tag any more: new pods get no sidecar`,
  fix: `Move the namespace to another revision before the control plane or the tag ${JSON.stringify(name)} is removed.`,
});

function movedTo(namespace: string, name: string, isKnown: boolean): Pick<Problem, "message" | "fix"> {
  const revision = JSON.stringify(name);
  const why = isKnown
    ? "there is neither a control plane nor a tag: new pods"
    : "no control plane is known: unless it is a tag, new pods";
  return {
    message: `Namespace ${namespace} changes to revision ${revision}, for which ${why} get no sidecar`,
    fix: `Install a control plane with revision ${revision} first, or use the revision or a tag of an existing one.`,
  };
}

interface InjectorLost {
  readonly name: string;
  /** Whether there are such pods, or may be. */
  readonly isCertain: boolean;
}

/** The injector that new pods ask for and do not find, where they had one before. */
function injectorLost(before: Side, after: Side): InjectorLost | undefined {
  const [old, now] = [before.object, after.object];
  // Nothing shows what there was before.
  if (old === now && !areRevisionsKnown(before.mesh.settings)) return undefined;
  const workloads = after.mesh.related(workloadsOfNamespace, now).filter((workload) => !isProxy(workload));
  const lost = workloads.find(
    (workload) =>
      captureAt(workload, after) === "sidecar" &&
      servedCaptureOf(workload, now, after.mesh.settings) === "none" &&
      servedCaptureOf(workload, old, before.mesh.settings) !== "none",
  );
  if (lost !== undefined) return { name: injectorNamed(lost.pod.labels, now), isCertain: true };
  const name = injectorNamed({}, now);
  if (enrollmentAt(after) !== "sidecar" || revisionNamed(name, after.mesh.settings) !== undefined) return undefined;
  const wasThere =
    enrollmentAt(before) === "sidecar"
      ? revisionNamed(injectorNamed({}, old), before.mesh.settings) !== undefined
      : !isOutside(enrollmentAt(before));
  const hasPods = workloads.some((workload) => captureAt(workload, after) === "sidecar");
  return wasThere ? { name, isCertain: hasPods || !after.mesh.knowsAll("Workload") } : undefined;
}
