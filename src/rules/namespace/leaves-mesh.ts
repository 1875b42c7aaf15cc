import { defineRule, type Problem } from "../../engine/rule.ts";
import { type Capture, captureOf, type Enrollment, enrollmentOf } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";
import { isProxy, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
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
  why: "When the label is removed, ztunnel stops capturing running pods immediately (Istio cni/pkg/util/enablement_selector.go Matches). Sidecars stay until pods are recreated, and are not injected into new pods (manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml). Without either, mTLS is neither required nor offered, and PeerAuthentications and AuthorizationPolicies have no effect.",
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
        message: `Namespace ${now.metadata.name} leaves the mesh: ${reasonOf(old, now)}; ${left.map((plane) => consequences[plane]).join("; ")}`,
        key: "leaves the mesh",
        fix: fixOf(old, now, left),
      };
    else yield* unservedRevision(old, now, after.mesh.settings);
  },
});

type Plane = "ambient" | "sidecar";
const consequences: Readonly<Record<Plane, string>> = {
  ambient: "ztunnel stops capturing its pods immediately",
  sidecar: "new pods get no sidecar",
};

/** The data planes that lose workloads. If workloads are not known, one that follows the namespace is assumed. */
function planesLeft(old: Namespace, now: Namespace, mesh: MeshView<typeof workloadsOfNamespace>): readonly Plane[] {
  const left = new Set<Capture>();
  for (const workload of mesh.related(workloadsOfNamespace, now))
    if (!isProxy(workload) && captureOf(workload, now) === "none") left.add(captureOf(workload, old));
  if (!mesh.knowsAll("Workload") && isOutside(enrollmentOf(now)))
    for (const plane of planesOf(enrollmentOf(old))) left.add(plane);
  return (["ambient", "sidecar"] as const).filter((plane) => left.has(plane));
}

const isOutside = (enrollment: Enrollment): boolean => enrollment === "none" || enrollment === "opted-out";

function planesOf(enrollment: Enrollment): readonly Plane[] {
  if (enrollment === "ambient" || enrollment === "sidecar") return [enrollment];
  return enrollment === "ambient-and-sidecar" ? ["sidecar"] : [];
}

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

function fixOf(old: Namespace, now: Namespace, left: readonly Plane[]): string {
  const changes = changedLabels(old, now).map(({ label, was }) =>
    was === undefined ? `do not set ${label}` : `keep ${label} ${JSON.stringify(was)}`,
  );
  const keep = `To stay in the mesh, ${changes.join(" and ")}.`;
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
