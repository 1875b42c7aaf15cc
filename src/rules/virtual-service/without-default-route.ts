import { defineRule } from "../../engine/rule.ts";
import { mayUseHttp, routePortsOf } from "../../mesh/gateways/route-ports.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { hostOwners, isFollowedAt } from "../../mesh/traffic/host-owners.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { registeredHost } from "../../mesh/traffic/registry.ts";
import { leavesOutRequests } from "../../mesh/traffic/route-order.ts";
import { followerScopes } from "../../mesh/traffic/sidecar-scope.ts";
import { gatewaysOf, isDelegate, meshGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [routePortsOf, registeredHost, hostOwners, followerScopes] as const;

export const virtualServiceWithoutDefaultRoute = defineRule({
  id: "virtual-service-without-default-route",
  subject: "VirtualService",
  reads,
  onlyWithFields: ["spec.http.match"],
  worksWithout: ["Gateway", "KubernetesGateway", "ServiceEntry", "Sidecar"],
  mode: "warn",
  since: "0.1.0",
  // A host that is to answer some paths to the mesh and no others is written in the same way.
  stage: "trial",
  tags: ["canary"],
  summary: "No route of a VirtualService takes the requests of the mesh that none of its matches fits.",
  why: "Without a VirtualService, sidecars and waypoints send every request for a host to it. With one, they send only those that a route matches: the virtual host has no other route, and Envoy answers the rest with 404 (Istio pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService). A route whose match has conditions that some requests do not meet, such as a path, a method, a header or a query parameter, is no default.",
  fix: "Add a last route without `match` to the host. If other requests are to fail, say so with a last route without `match` and `directResponse: { status: 404 }`.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["sidecar", "waypoint"],
    seen: "Clients in the mesh get 404 for requests that they got answers to before, and the access logs of their sidecars have the flag NR (no route).",
    wayOut: "Add a last route without `match` to the host, or delete the VirtualService.",
    silentWhen:
      "The VirtualService is for gateways alone, one of its hosts is not known, none of them has a port for HTTP, an older VirtualService has the host, or a match has only conditions of which it is not decided what they leave out: regular expressions for paths, authorities, schemes, ports, absent headers, and the labels and namespaces of clients.",
    page: "https://istio.io/latest/docs/ops/best-practices/traffic-management/",
  },

  *check(virtualService, mesh) {
    const { metadata, spec } = virtualService;
    if (spec.http.length === 0 || isDelegate(virtualService) || !isServed(virtualService, mesh.settings)) return;
    if (!gatewaysOf(virtualService).has(meshGateway) || !leavesOutRequests(virtualService)) return;
    if (mesh.get(routePortsOf, virtualService).get(meshGateway) === undefined) return;
    const host = spec.hosts.find((one) => isFollowed(virtualService, one, mesh));
    if (host === undefined) return;
    yield {
      at: ["spec", "http"],
      message: `Requests of the mesh for ${JSON.stringify(fullHost(host, metadata.namespace, mesh.settings.domain))} that no route matches get 404: there is no route for all others`,
      key: "no default route",
    };
  },
});

/** Whether its routes are used for a host: of several VirtualServices one alone is, and only at ports for HTTP. */
const isFollowed = (virtualService: VirtualService, host: string, mesh: MeshView<(typeof reads)[number]>): boolean => {
  const full = fullHost(host, virtualService.metadata.namespace, mesh.settings.domain).toLowerCase();
  const scopes = mesh.get(followerScopes, virtualService);
  return mayUseHttp(full, mesh) && isFollowedAt(virtualService, mesh.get(hostOwners, full), [], scopes);
};
