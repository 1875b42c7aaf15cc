import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import {
  virtualServicesClaimingAll,
  virtualServicesClaimingNamespace,
  virtualServicesClaimingService,
} from "../../mesh/traffic/service-claims.ts";
import { routesAtWaypointElsewhere } from "../../mesh/waypoints/routes-elsewhere.ts";

const claims = [virtualServicesClaimingService, virtualServicesClaimingNamespace, virtualServicesClaimingAll] as const;

export const kubernetesServiceRoutesTakenOver = defineRule({
  id: "kubernetes-service-routes-taken-over",
  subject: "Service",
  reads: [...claims, routesAtWaypointElsewhere],
  worksWithout: ["KubernetesGateway", "KubernetesRoute", "Namespace", "ServiceEntry", "Workload", "WorkloadEntry"],
  mode: { protected: "warn", elsewhere: "off" },
  since: "0.1.0",
  tags: ["authorization"],
  summary:
    "A route of another namespace decides about the requests that clients of other namespaces, or a waypoint there, send to a Service.",
  why: "A sidecar uses the VirtualServices that are exported to its namespace, of whichever namespace, the oldest first (Istio pilot/pkg/model/virtualservice.go SelectVirtualServices). Such a VirtualService can send the requests for a host elsewhere, mirror them, or rewrite their headers, for every client that it is exported to. Only the own clients of its namespace are its owner's business. A waypoint uses the routes of its own namespace as well, those of the Gateway API and what is exported to nobody else, too (pilot/pkg/networking/core/listener_waypoint.go getVirtualServiceForWaypoint). VirtualServices of the root namespace belong to those who run the mesh.",
  fix: "Limit the VirtualService to clients of its own namespace with `exportTo: [.]`, or let the owner of the Service write it in the namespace of the Service.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "waypoint"],
    seen: "Clients of other namespaces are answered by another service, with changed headers, or with other timeouts, and the VirtualService of the owner has no effect for them.",
    wayOut: "Delete the VirtualService of the other namespace, or limit it with `exportTo: [.]`.",
    silentWhen:
      "It is exported to its own namespace only and no waypoint there serves the Service, it applies only at gateways, it is in the root namespace, or its host is a wildcard for some of the hosts of a namespace.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(service, mesh) {
    const found = new Set<AnyObject>(claims.flatMap((relation) => mesh.related(relation, service)));
    for (const { route, waypoint } of mesh.get(routesAtWaypointElsewhere, service))
      if (!found.has(route))
        yield {
          at: [],
          message: `${idOf(route)} routes the requests to ${idOf(service)} at waypoint ${waypoint}, which is in the same namespace as the route`,
          related: [route],
          fix: "Let the owner of the Service write the route in the namespace of the Service, or let a waypoint there serve it.",
        };
    // A wildcard of its own namespace may be among the hosts.
    for (const virtualService of found)
      if (virtualService.metadata.namespace !== service.metadata.namespace)
        yield {
          at: [],
          message: `${idOf(virtualService)} routes the requests that clients of other namespaces send to ${idOf(service)}`,
          related: [virtualService],
        };
  },
});
