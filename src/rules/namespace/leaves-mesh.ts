import { defineRule, type Problem } from "../../engine/rule.ts";
import { captureOf, type Enrollment, enrollmentOf, mayRunAmbient } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { dataplaneMode, enrollmentLabels, injectionLabel, revisionLabel } from "../../mesh/objects/labels.ts";

export const namespaceLeavesMesh = defineRule({
  id: "namespace-leaves-mesh",
  subject: "Namespace",
  reads: [workloadsOfNamespace],
  worksWithout: ["Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "The labels that enroll a namespace in the mesh are removed or overridden.",
  why: "When the label is removed, ztunnel stops capturing running pods immediately (Istio cni/pkg/util/enablement_selector.go Matches). Sidecars stay until pods are recreated, and are not injected into new pods; a namespace that changes from ambient to sidecars has pods without either until they are recreated (manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml). Without either, mTLS is neither required nor offered, and PeerAuthentications and AuthorizationPolicies have no effect.",
  fix: "Keep the label. To migrate from sidecars to ambient, set `istio.io/dataplane-mode: ambient` in the change that removes `istio-injection` or `istio.io/rev`.",

  *compare(before, after) {
    const [old, now] = [before.object, after.object];
    // Then one of its workloads is changed, which workload-leaves-mesh checks.
    if (old === now) return;
    // A deleted namespace is an implied Namespace as long as the view contains objects in it.
    if (old.implied || now.implied || isTerminating(old) || isTerminating(now)) return;
    const left = planesLeft(old, now, after.mesh);
    if (left.length > 0)
      yield {
        at: ["metadata", "labels"],
        topic: "outside the mesh",
        message: `Namespace ${now.metadata.name} leaves the mesh: ${reasonOf(old, now)}; ${left.map((loss) => consequences[loss]).join("; ")}`,
        key: "leaves the mesh",
        fix: fixOf(old, now, left),
        ...(left.every((loss) => loss === "maybe ambient") ? { atMost: "warn" } : {}),
      };
    else yield* unservedRevision(old, now, after.mesh.settings);
  },
});

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
function planesLeft(old: Namespace, now: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): readonly Loss[] {
  const left = new Set<Loss | undefined>();
  for (const workload of mesh.related(workloadsOfNamespace, now))
    if (!isProxy(workload)) left.add(lossOf(workload, old, now));
  if (!mesh.knowsAll("Workload")) left.add(lossOfEnrollment(enrollmentOf(old), enrollmentOf(now)));
  return losses.filter((loss) => left.has(loss));
}

function lossOf(workload: Workload, old: Namespace, now: Namespace): Loss | undefined {
  const [was, is] = [captureOf(workload, old), captureOf(workload, now)];
  if (is === "none") return was === "ambient" || was === "sidecar" ? was : undefined;
  // A Pod that exists has a sidecar only if it shows one.
  if (is !== "sidecar" || workload.originKind === "Pod") return undefined;
  if (!mayRunAmbient(workload, old) || mayRunAmbient(workload, now)) return undefined;
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
  return reasons.join(", ");
}

function fixOf(old: Namespace, now: Namespace, left: readonly Loss[]): string {
  const changes = changedLabels(old, now).map(({ label, was }) =>
    was === undefined ? `do not set ${label}` : `keep ${label} ${JSON.stringify(was)}`,
  );
  const keep = `To stay in the mesh, ${changes.join(" and ")}.`;
  if (left.includes("running ambient") || left.includes("maybe ambient"))
    return `${keep} To migrate from ambient to sidecars, keep \`${dataplaneMode}: ambient\` next to the label that injects sidecars, restart the workloads, and remove it when every pod has a sidecar.`;
  return left.includes("sidecar") && now.metadata.labels[dataplaneMode] === undefined
    ? `${keep} To migrate from sidecars to ambient, set \`${dataplaneMode}: ambient\` in the same change.`
    : keep;
}

/** A revision label can be a tag, and the view does not contain tags. */
function* unservedRevision(old: Namespace, now: Namespace, { revisions }: MeshSettings): Iterable<Problem> {
  const injectedBy = ({ metadata }: Namespace) =>
    metadata.labels[injectionLabel] === undefined ? metadata.labels[revisionLabel] : "default";
  const [was, is] = [injectedBy(old), injectedBy(now)];
  const isInjected = enrollmentOf(old) === "sidecar" && enrollmentOf(now) === "sidecar";
  if (!isInjected || is === undefined || revisions.includes(is)) return;
  if (was === undefined || !revisions.includes(was)) return;
  yield {
    at: ["metadata", "labels", revisionLabel],
    message: `Namespace ${now.metadata.name} changes to revision ${JSON.stringify(is)}, for which no control plane is known: unless it is a tag, new pods get no sidecar`,
    key: "unserved revision",
    fix: `Install a control plane with revision ${JSON.stringify(is)} first, or use the revision or a tag of an existing one.`,
    atMost: "warn",
  };
}
