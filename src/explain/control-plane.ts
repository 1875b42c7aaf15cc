import type { Labels } from "../kube/object.ts";
import { captureOf, enrollmentOf } from "../mesh/membership/capture.ts";
import { injectorNamed, type Readers, readers } from "../mesh/membership/control-plane.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import { isProxy, type Workload } from "../mesh/membership/workloads.ts";
import { areRevisionsKnown, type ControlPlane } from "../mesh/objects/revision.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** The control planes that configure the sidecars and ztunnel of a namespace; empty if there is nothing to tell apart. */
export function controlPlaneLines(namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  const enrollment = enrollmentOf(namespace, mesh.settings);
  const isSidecar = enrollment === "sidecar" || enrollment === "ambient-and-sidecar";
  const isAmbient = enrollment === "ambient" || enrollment === "ambient-and-sidecar";
  return [...(isSidecar ? sidecarLines({}, namespace, mesh) : []), ...(isAmbient ? ztunnelLines(namespace, mesh) : [])];
}

/** The control plane that configures the data plane of a workload. */
export function controlPlaneLinesOfWorkload(
  workload: Workload,
  namespace: Namespace,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const capture = captureOf(workload, namespace, mesh.settings);
  if (isProxy(workload)) return [];
  if (capture === "sidecar") return sidecarLines(workload.pod.labels, namespace, mesh);
  return capture === "ambient" ? ztunnelLines(namespace, mesh) : [];
}

function sidecarLines(pod: Labels, namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] {
  const found = mesh.get(readers, namespace);
  const revision = found.ofSidecar(pod);
  const name = injectorNamed(pod, namespace);
  if (revision === undefined) return areRevisionsKnown(mesh.settings) ? [unserved(name)] : [];
  const by = revision === name ? "" : ` (tag ${name})`;
  return shown("Control plane of its sidecars", revision, { found, mesh, by });
}

const ztunnelLines = (namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] => {
  const found = mesh.get(readers, namespace);
  return shown("Control plane of ztunnel", found.ofZtunnel, { found, mesh, by: "" });
};

const unserved = (name: string): ExplanationLine => ({
  key: "controlPlane",
  text: `Control plane of its sidecars: none: there is neither a control plane nor a tag for revision ${name}, so new pods get no sidecar`,
  value: "none",
});

/** With one control plane that reads everything, there is nothing to tell apart. */
function shown(
  what: string,
  revision: ControlPlane,
  { found, mesh, by }: { readonly found: Readers; readonly mesh: Mesh; readonly by: string },
): readonly ExplanationLine[] {
  const isHidden = !found.discovers(revision);
  if (mesh.settings.revisions.length < 2 && by === "" && !isHidden) return [];
  const hidden = isHidden
    ? "; its discoverySelectors do not select this namespace, so policies, routes and Services in it have no effect"
    : "";
  const name = revision === undefined ? "not known" : `revision ${revision}`;
  return [{ key: "controlPlane", of: what, text: `${what}: ${name}${by}${hidden}`, value: revision ?? "unknown" }];
}
