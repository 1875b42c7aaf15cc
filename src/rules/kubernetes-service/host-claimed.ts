import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { includesNamespace, visibleTo } from "../../mesh/traffic/export-to.ts";
import { type Claim, claimOf, serviceEntriesClaimingService } from "../../mesh/traffic/service-claims.ts";
import type { MeshSettings } from "../../view/settings.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

export const kubernetesServiceHostClaimed = defineRule({
  id: "kubernetes-service-host-claimed",
  subject: "Service",
  reads: [serviceEntriesClaimingService],
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
    silentWhen: "The ServiceEntry is a wildcard, or no client that the claim matters for sees it (`exportTo`).",
    page: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
  },

  *check(service, mesh) {
    for (const entry of mesh.related(serviceEntriesClaimingService, service)) {
      const claim = claimOf(entry, service, mesh.settings);
      const message = claim && messageOf(entry, service, claim, mesh.settings);
      if (message !== undefined) yield { at: [], ...message, key: `${idOf(entry)} ${claim?.name}`, related: [entry] };
    }
  },
});

type Message = Pick<Problem, "message" | "fix">;

function messageOf(entry: ServiceEntry, service: Service, claim: Claim, settings: MeshSettings): Message | undefined {
  const { namespace } = entry.metadata;
  const visible = visibleTo(entry.spec.exportTo, namespace, settings.defaultServiceExportTo);
  const name = JSON.stringify(claim.name);
  if (claim.by === "short host") return shortHost(entry, service, claim.name, visible);
  if (namespace === service.metadata.namespace)
    return claim.by === "full host" && addsEndpoints(entry)
      ? {
          message: `${idOf(entry)} adds its endpoints to those of ${idOf(service)}: it has the host ${name} too`,
          fix: "Add endpoints outside Kubernetes with a WorkloadEntry that the Service selects, or give the ServiceEntry another host.",
        }
      : undefined;
  if (!includesNamespace(visible, namespace)) return undefined;
  return {
    message: `Clients in namespace ${namespace} reach ${idOf(entry)} instead of ${idOf(service)}: it has the ${claim.by === "address" ? "address" : "host"} ${name} too`,
  };
}

/** A name without a namespace is that of a Service only for clients in its own namespace. */
function shortHost(
  entry: ServiceEntry,
  service: Service,
  name: string,
  visible: ReadonlySet<string>,
): Message | undefined {
  const isForOwn = !name.includes(".");
  if (isForOwn ? !includesNamespace(visible, service.metadata.namespace) : visible.size === 0) return undefined;
  const clients = isForOwn ? `Clients in namespace ${service.metadata.namespace}` : "Clients";
  return {
    message: `${clients} that call ${JSON.stringify(name)} reach ${idOf(entry)} instead of ${idOf(service)}`,
    fix: "Give the ServiceEntry a full host name that no Service has.",
  };
}

/** Endpoints are listed, selected, or the host itself (Istio pilot/pkg/serviceregistry/serviceentry/conversion.go). */
const addsEndpoints = ({ spec }: ServiceEntry): boolean =>
  spec.endpoints.length > 0 || spec.workloadSelector !== undefined || (spec.resolution ?? "NONE").startsWith("DNS");
