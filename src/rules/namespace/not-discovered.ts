import { defineRule } from "../../engine/rule.ts";
import { isDiscovered, readers } from "../../mesh/membership/control-plane.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { controlPlanesOfEnrollment, controlPlanesOfPods } from "../../mesh/membership/control-planes-in.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { setting } from "../../view/view.ts";

export const namespaceNotDiscovered = defineRule({
  id: "namespace-not-discovered",
  subject: "Namespace",
  reads: [readers, captured, setting("discovery")],
  worksWithout: ["Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["revisions"],
  summary: "A namespace is in the mesh, and the discoverySelectors of its control plane leave it out.",
  why: "A control plane reads no policy, route or Service of a namespace that none of its `discoverySelectors` selects (Istio pkg/kube/namespace/filter.go Filter, pilot/pkg/config/kube/crdclient/client.go), while injection and istio-cni do not use them. Its workloads have proxies that enforce only the policies of the root namespace.",
  fix: "Give the namespace the labels that the discoverySelectors in the mesh config select, or take it out of the mesh.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Policies and routes of the namespace do not apply, although its pods have proxies. Clients reach its Services at the address that DNS gives them, as unknown hosts and without mTLS.",
    wayOut: "Put the label back that the discoverySelectors select. istiod reads the namespace without a restart.",
    silentWhen: "The mesh config has no discoverySelectors or is not known, or the namespace is not in the mesh.",
    page: "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/",
  },

  *check(namespace, mesh) {
    if (isTerminating(namespace)) return;
    const found = mesh.get(readers, namespace);
    const enrolled = controlPlanesOfEnrollment(namespace, found, mesh.settings);
    const { workloads } = mesh.get(captured, namespace);
    mesh.visited(workloads.all.length);
    // Pods can also join the mesh by their own labels.
    const ofPods = controlPlanesOfPods({ pods: workloads.all, namespace, found }, mesh.settings);
    for (const revision of new Set([...enrolled, ...ofPods]))
      if (!isDiscovered(namespace, revision, mesh.settings))
        yield {
          at: enrolled.includes(revision) ? ["metadata", "labels"] : [],
          message: `The discoverySelectors of revision ${JSON.stringify(revision)} do not select namespace ${namespace.metadata.name}: its policies, routes and Services have no effect`,
          key: `not discovered by ${revision}`,
        };
  },
});
