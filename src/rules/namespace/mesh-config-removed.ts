import { defineRule } from "../../engine/rule.ts";
import { readers } from "../../mesh/membership/control-plane.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { controlPlanesOfEnrollment, controlPlanesOfPods } from "../../mesh/membership/control-planes-in.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { type ControlPlane, objectsOfRevision } from "../../mesh/objects/revision.ts";
import { forWording, type MeshView, setting } from "../../view/view.ts";

// Only a ConfigMap that is deleted adds problems, not a workload that comes or goes.
const capturedNow = forWording(captured);
const reads = [readers, capturedNow, setting("configured")] as const;
type View = MeshView<(typeof reads)[number]>;

export const namespaceMeshConfigRemoved = defineRule({
  id: "namespace-mesh-config-removed",
  subject: "Namespace",
  reads,
  worksWithout: ["Workload"],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["revisions"],
  summary: "The mesh config of the control plane that configures the proxies of a namespace is deleted.",
  why: "A control plane without its ConfigMap `istio` or `istio-<revision>` uses Istio's default mesh config (pilot/pkg/bootstrap/mesh.go getConfigurationSources, pkg/config/mesh/mesh.go DefaultMeshConfig): other trust domains, providers, path normalization and discovery than its policies were written for. In an uninstallation, it shows that the control plane goes while proxies of the namespace still need it.",
  fix: "Move the namespace to another revision and restart its workloads before its control plane is removed.",
  incident: {
    symptoms: ["access-denied", "no-telemetry"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Since istiod uses its defaults, policies with action CUSTOM whose provider is gone deny every request that they match, paths are normalized in another way, and logs and spans for providers are not sent.",
    wayOut: "Apply the ConfigMap again; istiod reads it without a restart.",
    silentWhen: "No proxy of a protected namespace has this revision, or the ConfigMap was never there.",
    page: "https://istio.io/latest/docs/setup/upgrade/canary/",
  },

  *compare(before, after) {
    const { metadata } = after.object;
    if (before.mesh.settings === after.mesh.settings || isTerminating(after.object)) return;
    const now = controlPlanesAt(after);
    // A revision that only its ConfigMap shows is not known any more without it.
    const all = now.includes(undefined) ? [...now, ...controlPlanesAt(before)] : now;
    for (const revision of new Set(all)) {
      if (revision === undefined || after.mesh.settings.configured.includes(revision)) continue;
      if (before.mesh.settings.configured.includes(revision))
        yield {
          at: [],
          message: `The mesh config of revision ${JSON.stringify(revision)}, which configures the proxies of namespace ${metadata.name}, is deleted: ConfigMap istio-system/${objectsOfRevision(revision).config}`,
          key: `mesh config of ${revision}`,
        };
    }
  },
});

/** The control planes of what the labels of a namespace enroll, and of pods that join the mesh by their own. */
function controlPlanesAt({
  object,
  mesh,
}: {
  readonly object: Namespace;
  readonly mesh: View;
}): readonly ControlPlane[] {
  const { workloads } = mesh.get(capturedNow, object);
  mesh.visited(workloads.all.length);
  const found = mesh.get(readers, object);
  const ofPods = controlPlanesOfPods({ pods: workloads.all, namespace: object, found }, mesh.settings);
  return [...controlPlanesOfEnrollment(object, found, mesh.settings), ...ofPods];
}
