import { defineRule } from "../../engine/rule.ts";
import { enrollmentOf } from "../../mesh/membership/capture.ts";
import { Readers } from "../../mesh/membership/control-plane.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { type ControlPlane, objectsOfRevision } from "../../mesh/objects/revision.ts";
import type { MeshSettings } from "../../view/settings.ts";

export const namespaceMeshConfigRemoved = defineRule({
  id: "namespace-mesh-config-removed",
  subject: "Namespace",
  reads: [],
  mode: { protected: "deny", elsewhere: "off" },
  since: "0.1.0",
  tags: ["revisions"],
  summary: "The mesh config of the control plane that configures the proxies of a namespace is deleted.",
  why: "A control plane without its ConfigMap `istio` or `istio-<revision>` uses Istio's default mesh config (pilot/pkg/bootstrap/mesh.go getConfigurationSources, pkg/config/mesh/mesh.go DefaultMeshConfig): other trust domains, providers, path normalization and discovery than its policies were written for. In an uninstallation, it shows that the control plane goes while proxies of the namespace still need it.",
  fix: "Move the namespace to another revision and restart its workloads before its control plane is removed.",

  *compare(before, after) {
    const { metadata } = after.object;
    if (before.mesh.settings === after.mesh.settings || isTerminating(after.object)) return;
    for (const revision of controlPlanesOf(after.object, after.mesh.settings)) {
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

/** Those of the pods that the labels of the namespace enroll. namespace-leaves-mesh checks one that is not there any more. */
function controlPlanesOf(namespace: Namespace, settings: MeshSettings): ReadonlySet<ControlPlane> {
  const readers = new Readers(namespace, undefined, settings);
  const enrollment = enrollmentOf(namespace);
  const isSidecar = enrollment === "sidecar" || enrollment === "ambient-and-sidecar";
  const isAmbient = enrollment === "ambient" || enrollment === "ambient-and-sidecar";
  return new Set([...(isSidecar ? [readers.ofSidecar({})] : []), ...(isAmbient ? [readers.ofZtunnel] : [])]);
}
