import { defineRule, type Problem } from "../../engine/rule.ts";
import { type Capture, captureOf, type Enrollment, enrollmentOf } from "../../mesh/membership/capture.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { MeshView } from "../../view/view.ts";
import { isProxy, workloadsOfNamespace } from "../../mesh/membership/workloads.ts";
import { enrollmentLabels, injectionLabel, revisionLabel } from "../../mesh/objects/labels.ts";

export const namespaceLeavesMesh = defineRule({
  id: "namespace-leaves-mesh",
  subject: "Namespace",
  reads: [workloadsOfNamespace],
  worksWithout: ["Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "The labels that take a namespace's pods into the mesh are taken off, or overridden.",
  why: "As soon as the label is gone, ztunnel lets go of running pods (Istio cni/pkg/util/enablement_selector.go Matches); sidecars stay until pods are made again, and then nothing injects them (manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml). Without either, mTLS is neither demanded nor offered, and PeerAuthentications and AuthorizationPolicies do nothing.",
  fix: "Leave the label on. To go from sidecars to ambient, set `istio.io/dataplane-mode: ambient` in the change that takes `istio-injection` or `istio.io/rev` off.",

  *compare(before, after) {
    const [old, now] = [before.object, after.object];
    // A namespace that goes is shown as an implied one, as long as something is left in it.
    if (old.implied || now.implied || isTerminating(old) || isTerminating(now)) return;
    const left = planesLeft(old, now, after.mesh);
    if (left.length > 0)
      yield {
        at: ["metadata", "labels"],
        message: `Namespace ${now.metadata.name} leaves the mesh: ${reasonOf(old, now)}; ${left.map((plane) => consequences[plane]).join("; ")}`,
        key: "leaves the mesh",
      };
    else yield* unservedRevision(old, now, after.mesh.settings);
  },
});

type Plane = "ambient" | "sidecar";
const consequences: Readonly<Record<Plane, string>> = {
  ambient: "ztunnel lets go of its pods at once",
  sidecar: "pods that are made from now on get no sidecar",
};

/** The data planes that lose something. Where workloads are not known, there is one that follows the namespace. */
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

function reasonOf({ metadata: old }: Namespace, { metadata: now }: Namespace): string {
  const changed = enrollmentLabels.filter((label) => old.labels[label] !== now.labels[label]);
  return changed
    .map((label) => {
      const [was, is] = [old.labels[label], now.labels[label]];
      if (is === undefined) return `${label} ${JSON.stringify(was)} is taken off`;
      return was === undefined
        ? `${label} ${JSON.stringify(is)} is set`
        : `${label} goes from ${JSON.stringify(was)} to ${JSON.stringify(is)}`;
    })
    .join(", ");
}

/** A tag of a revision is no revision, and nothing shows which tags there are. */
function* unservedRevision(old: Namespace, now: Namespace, { revisions }: MeshSettings): Iterable<Problem> {
  const injectedBy = ({ metadata }: Namespace) =>
    metadata.labels[injectionLabel] === undefined ? metadata.labels[revisionLabel] : "default";
  const [was, is] = [injectedBy(old), injectedBy(now)];
  const isInjected = enrollmentOf(old) === "sidecar" && enrollmentOf(now) === "sidecar";
  if (!isInjected || is === undefined || revisions.includes(is)) return;
  if (was === undefined || !revisions.includes(was)) return;
  yield {
    at: ["metadata", "labels", revisionLabel],
    message: `Namespace ${now.metadata.name} goes to revision ${JSON.stringify(is)}, which no control plane is known to serve: unless it is a tag, new pods get no sidecar`,
    key: "unserved revision",
    atMost: "warn",
  };
}
