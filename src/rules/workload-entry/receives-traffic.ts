import { defineRule, type Problem } from "../../engine/rule.ts";
import { byId, idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { type Namespace, isTerminating } from "../../mesh/membership/namespaces.ts";
import { isAmbientNamespace } from "../../mesh/membership/capture.ts";
import { isExternalName, isHeadless, type Service, servicesOfNamespace } from "../../mesh/membership/services.ts";
import { hasProxy, isOnlyForDns, labelsOfWorkloadEntry } from "../../mesh/membership/workload-entries.ts";
import { serviceEntriesOfNamespace } from "../../mesh/client-tls/destinations.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { portOfService } from "../../mesh/requests/entry-endpoints.ts";
import { SelectorGroups } from "../../mesh/objects/selector-groups.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";

type Selecting = ObjectOf<"Service"> | ObjectOf<"ServiceEntry">;

/** A WorkloadEntry that a control plane reads, and its namespace. */
const namespaceOfWorkloadEntry = relation(
  "namespaceOfWorkloadEntry",
  index("WorkloadEntry", (entry, settings) => (isServed(entry, settings) ? [entry.metadata.namespace] : [])),
  namespaceByName,
);

const isSelecting = (service: Service): boolean =>
  !isExternalName(service) && Object.keys(service.spec.selector).length > 0;

const ambient = "ambient";
const ambientNamespace = index("Namespace", (namespace) => (isAmbientNamespace(namespace) ? [ambient] : []));
/** A headless Service with a selector, and the ambient namespaces, of which ztunnel sends requests for it to WorkloadEntries. */
const ambientNamespacesOfHeadless = relation(
  "ambientNamespacesOfHeadless",
  index("Service", (service) => (isHeadless(service) && isSelecting(service) ? [ambient] : [])),
  ambientNamespace,
  "identity",
);
/** A WorkloadEntry with a host name or a socket as its address, and the ambient namespaces, of which ztunnel takes it for an endpoint. */
const ambientNamespacesOfHostNamed = relation(
  "ambientNamespacesOfHostNamed",
  index("WorkloadEntry", (entry, settings) => (isServed(entry, settings) && isOnlyForDns(entry) ? [ambient] : [])),
  ambientNamespace,
  "identity",
);

/**
 * The Services and ServiceEntries of a namespace by their selectors. Sidecars and gateways get no WorkloadEntries for a headless
 * Service (Istio pilot/pkg/serviceregistry/kube/controller/controller.go collectWorkloadInstanceEndpoints), and ztunnel does
 * (pilot/pkg/serviceregistry/ambient/workloads.go constructServicesFromWorkloadEntry).
 */
const selectorsOfNamespace = fact(
  "selectorsOfNamespace",
  "Namespace",
  [servicesOfNamespace, serviceEntriesOfNamespace, ambientNamespacesOfHeadless],
  (namespace: Namespace, mesh) =>
    new SelectorGroups<Selecting>([
      ...mesh
        .related(servicesOfNamespace, namespace)
        .filter(isSelecting)
        .filter((service) => !isHeadless(service) || mesh.hasUnder(ambientNamespacesOfHeadless, ambient))
        .map((service) => [service.spec.selector, service] as const),
      ...mesh
        .related(serviceEntriesOfNamespace, namespace)
        .map((entry) => [entry.spec.workloadSelector?.labels ?? {}, entry] as const),
    ]),
);

/** A port whose target is a name is left out where the WorkloadEntry has no port of this name (serviceInstanceFromWorkloadInstance). */
const hasPortFor = (entry: ObjectOf<"WorkloadEntry">, one: Selecting): boolean =>
  one.kind === "ServiceEntry" || one.spec.ports.some((port) => portOfService(port, entry.spec.ports) !== undefined);

const reads = [namespaceOfWorkloadEntry, selectorsOfNamespace, ambientNamespacesOfHostNamed] as const;
type View = MeshView<(typeof reads)[number]>;

/** Whether some proxies take the WorkloadEntry for an endpoint of what selects it: ztunnel does, whatever its address is (pilot/pkg/serviceregistry/ambient/workloads.go workloadEntryWorkloadBuilder). */
const isEndpointOf = (entry: ObjectOf<"WorkloadEntry">, one: Selecting, mesh: View): boolean =>
  !isOnlyForDns(entry) ||
  (one.kind === "ServiceEntry" && one.spec.resolution?.startsWith("DNS") === true) ||
  mesh.hasUnder(ambientNamespacesOfHostNamed, ambient);

export const workloadEntryReceivesTraffic = defineRule({
  id: "workload-entry-receives-traffic",
  subject: "WorkloadEntry",
  reads,
  worksWithout: ["ServiceEntry", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A WorkloadEntry receives a part of the requests to a Service.",
  why: "The address of a WorkloadEntry is an endpoint of every Service and ServiceEntry of its namespace that selects its labels (Istio pilot/pkg/serviceregistry/kube/controller/controller.go collectWorkloadInstanceEndpoints), of headless Services only for ztunnel (pilot/pkg/serviceregistry/ambient/workloads.go constructServicesFromWorkloadEntry). Unless it has a service account, or the label `security.istio.io/tlsMode` says something else, sidecars and gateways send plaintext to it (pilot/pkg/serviceregistry/serviceentry/conversion.go getTLSModeFromWorkloadEntry). Nobody verifies who is at the address.",
  fix: "If the address is a machine of the same service, accept the WorkloadEntry with a MeshwardException. Otherwise, give it labels that no Service selects.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "A share of the requests is answered at the address of the WorkloadEntry, or fails there. `istioctl proxy-config endpoints` shows the address.",
    wayOut: "Delete the WorkloadEntry, or change its labels: clients drop the endpoint within seconds.",
    silentWhen:
      "No Service and no ServiceEntry of its namespace selects its labels, or the ports of the Service lead to names that the WorkloadEntry has no ports for. Only headless Services select it, or its address is a host name and no ServiceEntry with resolution DNS selects it, and no namespace is ambient: pods that are ambient by their own label alone are not looked for.",
    page: "https://istio.io/latest/docs/reference/config/networking/workload-entry/",
  },

  *check(entry, mesh) {
    const found = receiving(entry, mesh);
    if (found !== undefined) yield found.problem;
  },

  *compare(before, after) {
    const now = receiving(after.object, after.mesh);
    if (now === undefined) return;
    const was = receiving(before.object, before.mesh);
    const isSame = was !== undefined && was.problem.key === now.problem.key && (was.isPlaintext || !now.isPlaintext);
    yield { ...now.problem, ...(isSame ? { existed: true } : {}) };
  },
});

function receiving(
  entry: ObjectOf<"WorkloadEntry">,
  mesh: View,
): { readonly problem: Problem; readonly isPlaintext: boolean } | undefined {
  const [namespace] = mesh.related(namespaceOfWorkloadEntry, entry);
  if (namespace === undefined || isTerminating(namespace)) return undefined;
  const labels = labelsOfWorkloadEntry(entry);
  const [first, ...others] = mesh
    .get(selectorsOfNamespace, namespace)
    .selecting(labels)
    .flatMap(({ members }) => members)
    .filter((one) => hasPortFor(entry, one) && isEndpointOf(entry, one, mesh))
    .toSorted(byId);
  if (first === undefined) return undefined;
  const address = entry.spec.address ?? "";
  const isPlaintext = !hasProxy({ labels, serviceAccount: entry.spec.serviceAccount });
  const problem = {
    at: ["spec", "address"],
    message: `${idOf(first)} sends requests to ${JSON.stringify(address)}, the address of this WorkloadEntry${isPlaintext ? ", in plaintext" : ""}`,
    key: `receives traffic at ${address}`,
    related: [first, ...others],
  };
  return { problem, isPlaintext };
}
