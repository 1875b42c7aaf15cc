import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { converted } from "../../mesh/gateways/converted-rules.ts";
import { routePortsOfDefinition } from "../../mesh/gateways/route-ports.ts";
import { isOfRequests, routesOfParentService } from "../../mesh/gateways/routes.ts";
import { oldestRouteFirst } from "../../mesh/objects/creation-order.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { hostOfService } from "../../mesh/traffic/hosts.ts";
import { leavesOutRequests } from "../../mesh/traffic/route-order.ts";

export const kubernetesServiceWithoutDefaultRoute = defineRule({
  id: "kubernetes-service-without-default-route",
  subject: "Service",
  reads: [routesOfParentService],
  onlyWith: "KubernetesRoute",
  mode: "warn",
  since: "0.1.0",
  // A Service that is to answer some paths to the mesh and no others is written in the same way.
  stage: "trial",
  tags: ["canary"],
  summary: "No HTTPRoute of a Service takes the requests of the mesh that none of their matches fits.",
  why: "Without a route, sidecars and waypoints send every request for a Service to it. With routes that name it as their parent, they send only those that a rule matches, and answer the rest with 404: istiod makes one VirtualService of the routes of a namespace for a Service (Istio pilot/pkg/config/kube/gateway/route_collections.go mergeHTTPRoutes), and the virtual host has no other route (pilot/pkg/networking/core/route/route.go buildSidecarVirtualHostsForVirtualService).",
  fix: "Add a rule without `matches` that has the Service itself as its backend.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["sidecar", "waypoint"],
    seen: "Clients in the mesh get 404 for requests that they got answers to before, and the access logs of their proxies have the flag NR (no route).",
    wayOut: "Add a rule without `matches` to the route, or delete the route.",
    silentWhen:
      "The Service has no HTTPRoute but GRPCRoutes, which name the methods that it has, the routes are in another namespace than the Service, no port of the Service is for HTTP, or a match has only conditions of which it is not decided what they leave out: a regular expression for the path.",
    page: "https://gateway-api.sigs.k8s.io/mesh/service-facets/",
  },

  *check(service, mesh) {
    const { settings } = mesh;
    const routes = mesh
      .related(routesOfParentService, service)
      .filter(
        (route) =>
          isOfRequests(route) && route.metadata.namespace === service.metadata.namespace && isServed(route, settings),
      );
    if (
      !routes.some(({ originKind }) => originKind === "HTTPRoute") ||
      ![...routePortsOfDefinition(service).values()].some((uses) => uses.has("http"))
    )
      return;
    const { domain } = settings;
    const { virtualService } = converted(routes, { hosts: [hostOfService(service, domain)], domain });
    if (!leavesOutRequests(virtualService)) return;
    const [first, ...others] = routes.toSorted(oldestRouteFirst);
    yield {
      at: [],
      message: `Requests of the mesh that no rule matches get 404: ${first === undefined ? "" : idOf(first)}${others.length === 0 ? " has" : ` and ${others.length} more have`} no rule for all others`,
      key: "no default route",
      related: routes,
      evidence: routes,
    };
  },
});
