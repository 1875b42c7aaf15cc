import { defineRule } from "../../engine/rule.ts";
import { byId, idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { type Namespace, isTerminating } from "../../mesh/membership/namespaces.ts";
import { servicesOfNamespace } from "../../mesh/membership/services.ts";
import { hasProxy, labelsOfWorkloadEntry } from "../../mesh/membership/workload-entries.ts";
import { serviceEntriesOfNamespace } from "../../mesh/client-tls/destinations.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { SelectorGroups } from "../../mesh/objects/selector-groups.ts";
import { fact, index, relation } from "../../view/view.ts";

type Selecting = ObjectOf<"Service"> | ObjectOf<"ServiceEntry">;

/** A WorkloadEntry that a control plane reads, and its namespace. */
const namespaceOfWorkloadEntry = relation(
  "namespaceOfWorkloadEntry",
  index("WorkloadEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
  namespaceByName,
);

/** The Services and ServiceEntries of a namespace by their selectors. */
const selectorsOfNamespace = fact(
  "selectorsOfNamespace",
  "Namespace",
  [servicesOfNamespace, serviceEntriesOfNamespace],
  (namespace: Namespace, mesh) =>
    new SelectorGroups<Selecting>([
      ...mesh
        .related(servicesOfNamespace, namespace)
        .filter(({ spec }) => spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0)
        .map((service) => [service.spec.selector, service] as const),
      ...mesh
        .related(serviceEntriesOfNamespace, namespace)
        .map((entry) => [entry.spec.workloadSelector?.labels ?? {}, entry] as const),
    ]),
);

export const workloadEntryReceivesTraffic = defineRule({
  id: "workload-entry-receives-traffic",
  subject: "WorkloadEntry",
  reads: [namespaceOfWorkloadEntry, selectorsOfNamespace],
  worksWithout: ["ServiceEntry", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A WorkloadEntry receives a part of the requests to a Service.",
  why: "The address of a WorkloadEntry is an endpoint of every Service and ServiceEntry of its namespace that selects its labels (Istio pilot/pkg/serviceregistry/kube/controller/controller.go collectWorkloadInstanceEndpoints). Unless it has a service account, or the label `security.istio.io/tlsMode` says something else, sidecars and gateways send plaintext to it (pilot/pkg/serviceregistry/serviceentry/conversion.go getTLSModeFromWorkloadEntry). Nobody verifies who is at the address.",
  fix: "If the address is a machine of the same service, accept the WorkloadEntry with a MeshwardException. Otherwise, give it labels that no Service selects.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "A share of the requests is answered at the address of the WorkloadEntry, or fails there. `istioctl proxy-config endpoints` shows the address.",
    wayOut: "Delete the WorkloadEntry, or change its labels: clients drop the endpoint within seconds.",
    silentWhen: "No Service and no ServiceEntry of its namespace selects its labels.",
    page: "https://istio.io/latest/docs/reference/config/networking/workload-entry/",
  },

  *check(entry, mesh) {
    const [namespace] = mesh.related(namespaceOfWorkloadEntry, entry);
    if (namespace === undefined || isTerminating(namespace)) return;
    const labels = labelsOfWorkloadEntry(entry);
    const [first, ...others] = mesh
      .get(selectorsOfNamespace, namespace)
      .selecting(labels)
      .flatMap(({ members }) => members)
      .toSorted(byId);
    if (first === undefined) return;
    const address = entry.spec.address ?? "";
    yield {
      at: ["spec", "address"],
      message: `${idOf(first)} sends requests to ${JSON.stringify(address)}, the address of this WorkloadEntry${hasProxy({ labels, serviceAccount: entry.spec.serviceAccount }) ? "" : ", in plaintext"}`,
      key: `receives traffic at ${address}`,
      related: [first, ...others],
    };
  },
});
