import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { hasMeshClients } from "../../mesh/membership/clients.ts";
import { namespaceOfService } from "../../mesh/membership/services.ts";
import { type Definition, namespaceOfDefinition, namespaceOfEntry } from "../../mesh/traffic/definition-choice.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { type Claim, claimOf, serviceEntriesClaimingService } from "../../mesh/traffic/service-claims.ts";
import type { MeshView } from "../../view/view.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

const reads = [serviceEntriesClaimingService, namespaceOfService, namespaceOfEntry, hasMeshClients] as const;
type View = MeshView<(typeof reads)[number]>;

export const kubernetesServiceHostClaimed = defineRule({
  id: "kubernetes-service-host-claimed",
  subject: "Service",
  reads,
  worksWithout: ["Namespace", "Workload"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["mtls"],
  summary: "A ServiceEntry claims the host or the address of a Service, so that clients reach something else.",
  why: "Clients in the namespace of the ServiceEntry use it instead of the Service; in other namespaces the Kubernetes Service wins (Istio pilot/pkg/model/sidecar.go selectServices; for ztunnel src/state/service.rs find_best_match). A ServiceEntry whose host is a short name such as `api.payments` takes that name from the Service for every client that it is exported to (pilot/pkg/networking/core/httproute.go dedupeDomains). In the namespace of the Service, its endpoints are added to those of the Service (pilot/pkg/model/endpointshards.go).",
  fix: "Give the ServiceEntry a host that no Service has, and no address of a Service.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint", "ztunnel"],
    seen: "Clients in the namespace of the ServiceEntry, or all that use a short name, reach other addresses than the pods of the Service. `istioctl proxy-config endpoints` shows these addresses.",
    wayOut: "Delete the ServiceEntry: its clients reach the Service again within seconds.",
    silentWhen:
      "The ServiceEntry is a wildcard, no client that the claim matters for sees it (`exportTo`), or the namespace of these clients has none in the mesh.",
    page: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
  },

  *check(service, mesh) {
    for (const entry of mesh.related(serviceEntriesClaimingService, service)) {
      const claim = claimOf(entry, service, mesh.settings);
      const message = claim && messageOf(entry, service, claim, mesh);
      if (message !== undefined) yield { at: [], ...message, key: `${idOf(entry)} ${claim?.name}`, related: [entry] };
    }
  },
});

type Message = Pick<Problem, "message" | "fix">;

function messageOf(entry: ServiceEntry, service: Service, claim: Claim, mesh: View): Message | undefined {
  const { namespace } = entry.metadata;
  const visible = visibleTo(entry.spec.exportTo, namespace, mesh.settings.defaultServiceExportTo);
  const name = JSON.stringify(claim.name);
  if (claim.by === "short host") return shortHost(entry, service, { name: claim.name, visible, mesh });
  if (namespace === service.metadata.namespace)
    return claim.by === "full host" && addsEndpoints(entry)
      ? {
          message: `${idOf(entry)} adds its endpoints to those of ${idOf(service)}: it has the host ${name} too`,
          fix: "Add endpoints outside Kubernetes with a WorkloadEntry that the Service selects, or give the ServiceEntry another host.",
        }
      : undefined;
  if (!includesNamespace(visible, namespace) || !mayHaveClients(entry, mesh)) return undefined;
  return {
    message: `Clients in namespace ${namespace} reach ${idOf(entry)} instead of ${idOf(service)}: it has the ${claim.by === "address" ? "address" : "host"} ${name} too`,
  };
}

/** Clients outside the mesh ask the DNS of the cluster, which knows no ServiceEntry. */
function mayHaveClients(definition: Definition, mesh: View): boolean {
  const namespace = namespaceOfDefinition(definition, mesh);
  return namespace === undefined || mesh.get(hasMeshClients, namespace);
}

/** A name without a namespace is that of a Service only for clients in its own namespace. */
function shortHost(
  entry: ServiceEntry,
  service: Service,
  { name, visible, mesh }: { readonly name: string; readonly visible: ReadonlySet<string>; readonly mesh: View },
): Message | undefined {
  const isForOwn = !name.includes(".");
  const isRead = isForOwn
    ? includesNamespace(visible, service.metadata.namespace) && mayHaveClients(service, mesh)
    : visible.size > 0;
  if (!isRead) return undefined;
  const clients = isForOwn ? `Clients in namespace ${service.metadata.namespace}` : "Clients";
  return {
    message: `${clients} that call ${JSON.stringify(name)} reach ${idOf(entry)} instead of ${idOf(service)}`,
    fix: "Give the ServiceEntry a full host name that no Service has.",
  };
}

/** Endpoints are listed, selected, or the host itself (Istio pilot/pkg/serviceregistry/serviceentry/conversion.go). */
const addsEndpoints = ({ spec }: ServiceEntry): boolean =>
  spec.endpoints.length > 0 || spec.workloadSelector !== undefined || (spec.resolution ?? "NONE").startsWith("DNS");
