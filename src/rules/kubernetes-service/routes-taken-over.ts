import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Service } from "../../mesh/membership/services.ts";
import type { MeshView } from "../../view/view.ts";
import {
  claimsHost,
  otherNamesClaimed,
  portsOfOwnHosts,
  routesOtherNames,
  virtualServicesClaimingAll,
  virtualServicesClaimingNamespace,
  virtualServicesClaimingService,
} from "../../mesh/traffic/service-claims.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { routesAtWaypointElsewhere } from "../../mesh/waypoints/routes-elsewhere.ts";

const claims = [virtualServicesClaimingService, virtualServicesClaimingNamespace, virtualServicesClaimingAll] as const;

export const kubernetesServiceRoutesTakenOver = defineRule({
  id: "kubernetes-service-routes-taken-over",
  subject: "Service",
  reads: [...claims, portsOfOwnHosts, routesAtWaypointElsewhere],
  worksWithout: ["KubernetesGateway", "KubernetesRoute", "Namespace", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A route of another namespace decides about the requests that clients of other namespaces, or a waypoint there, send to a Service.",
  why: "A sidecar uses the VirtualServices that are exported to its namespace, of whichever namespace, the oldest first (Istio pilot/pkg/model/virtualservice.go SelectVirtualServices). Such a VirtualService can send the requests for a host elsewhere, mirror them, or rewrite their headers, for every client that it is exported to. It takes other names of the Service, such as `api.payments`, and its address, if it has them as hosts and comes first: at port 80, and at the ports of its other hosts (pilot/pkg/networking/core/httproute.go GenerateAltVirtualHosts, dedupeDomains). Only the own clients of its namespace are its owner's business. A waypoint uses the routes of its own namespace as well, those of the Gateway API and what is exported to nobody else, too (pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint). VirtualServices of the root namespace belong to those who run the mesh.",
  fix: "Limit the VirtualService to clients of its own namespace with `exportTo: [.]`, or let the owner of the Service write it in the namespace of the Service.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "waypoint"],
    seen: "Clients of other namespaces are answered by another service, with changed headers, or with other timeouts, and the VirtualService of the owner has no effect for them.",
    wayOut: "Delete the VirtualService of the other namespace, or limit it with `exportTo: [.]`.",
    silentWhen:
      "It is exported to its own namespace only and no waypoint there serves the Service, it applies only at gateways, it is in the root namespace, it has only other names of the Service than the full host and the proxies tell requests to the port by their address, or its host is a wildcard for some of the hosts of a namespace.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(service, mesh) {
    const claiming = new Set(claims.flatMap((relation) => mesh.related(relation, service)));
    const found: ReadonlySet<AnyObject> = claiming;
    for (const { route, waypoint } of mesh.get(routesAtWaypointElsewhere, service))
      if (!found.has(route))
        yield {
          at: [],
          message: `${idOf(route)} routes the requests to ${idOf(service)} at waypoint ${waypoint}, which is in the same namespace as the route`,
          related: [route],
          fix: "Let the owner of the Service write the route in the namespace of the Service, or let a waypoint there serve it.",
        };
    for (const virtualService of claiming) {
      yield;
      // A wildcard of its own namespace may be among the hosts.
      if (virtualService.metadata.namespace === service.metadata.namespace) continue;
      const message = `${idOf(virtualService)} routes the requests that clients of other namespaces send to ${idOf(service)}`;
      if (claimsHost(virtualService, service, mesh.settings)) yield { at: [], message, related: [virtualService] };
      else
        for (const name of namesTaken(virtualService, service, mesh))
          yield { at: [], message: `${message} as "${name}"`, related: [virtualService] };
    }
  },
});

/** The names of the Service, other than its host, for which the VirtualService has the requests. */
function namesTaken(
  virtualService: VirtualService,
  service: Service,
  mesh: MeshView<typeof portsOfOwnHosts>,
): readonly string[] {
  const names = otherNamesClaimed(virtualService, service, mesh.settings);
  return names.length > 0 && routesOtherNames(virtualService, service, mesh) ? names : [];
}
