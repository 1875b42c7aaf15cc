import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import type { Service } from "../../mesh/membership/services.ts";
import type { MeshView } from "../../view/view.ts";
import { hostOwners, isFollowedAt, virtualServicesOverService } from "../../mesh/traffic/host-owners.ts";
import { coveringHosts, covers, hostOfService } from "../../mesh/traffic/hosts.ts";
import { ownersOfOtherName } from "../../mesh/traffic/other-name-owners.ts";
import { followerScopes } from "../../mesh/traffic/sidecar-scope.ts";
import {
  hostClaimed,
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

const reads = [
  ...claims,
  portsOfOwnHosts,
  routesAtWaypointElsewhere,
  hostOwners,
  virtualServicesOverService,
  ownersOfOtherName,
  followerScopes,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const kubernetesServiceRoutesTakenOver = defineRule({
  id: "kubernetes-service-routes-taken-over",
  subject: "Service",
  reads,
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
      "It is exported to its own namespace only and no waypoint there serves the Service, it applies only at gateways, another one has the requests of all clients because it is older, or for the very host or a more specific wildcard, it is in the root namespace, it has only other names of the Service than the full host and the proxies tell requests to the port by their address, or its host is a wildcard for some of the hosts of a namespace.",
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
      const host = hostClaimed(virtualService, service, mesh.settings);
      if (host !== undefined) {
        if (isUsedAt(host, virtualService, service, mesh)) yield { at: [], message, related: [virtualService] };
      } else
        for (const name of namesTaken(virtualService, service, mesh))
          yield { at: [], message: `${message} as "${name}"`, related: [virtualService] };
    }
  },
});

/** Whether no other VirtualService has the requests of all clients. */
function isUsedAt(host: string, virtualService: VirtualService, service: Service, mesh: View): boolean {
  const own = hostOfService(service, mesh.settings.domain).toLowerCase();
  const moreSpecific = coveringHosts(own).filter((one) => one !== host && covers(host, one));
  return isFollowedAt(
    virtualService,
    mesh.get(hostOwners, host),
    moreSpecific.map((one) => mesh.get(hostOwners, one)),
    mesh.get(followerScopes, virtualService),
  );
}

/** The names of the Service, other than its host, for which the VirtualService has the requests. */
function namesTaken(virtualService: VirtualService, service: Service, mesh: View): readonly string[] {
  const names = otherNamesClaimed(virtualService, service, mesh.settings);
  if (names.length === 0 || !routesOtherNames(virtualService, service, mesh)) return [];
  const scopes = mesh.get(followerScopes, virtualService);
  return names.filter((name) => {
    const { owners } = mesh.get(ownersOfOtherName, name);
    return isFollowedAt(virtualService, owners, [], scopes);
  });
}
