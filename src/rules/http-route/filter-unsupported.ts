import { defineRule } from "../../engine/rule.ts";
import type { AnyObject } from "../../kube/object.ts";
import {
  gatewaysOfRoute,
  type KubernetesRoute,
  listenerSetsOfRoute,
  parentOf,
  type Referenced,
} from "../../mesh/gateways/routes.ts";
import { unsupportedFilters } from "../../mesh/gateways/unsupported-filters.ts";
import { isForOtherControllers } from "../../mesh/waypoints/other-controllers.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [isForOtherControllers, gatewaysOfRoute, listenerSetsOfRoute] as const;
type View = MeshView<(typeof reads)[number]>;

export const httpRouteFilterUnsupported = defineRule({
  id: "http-route-filter-unsupported",
  subject: "KubernetesRoute",
  reads,
  onlyWithFields: ["spec.rules.filters", "spec.rules.backendRefs.filters"],
  worksWithout: ["KubernetesGateway", "ListenerSet", "Service"],
  mode: "warn",
  since: "0.1.0",
  // A GatewayClass that is not known can be another controller's.
  stage: "trial",
  tags: ["gateway"],
  summary:
    "A route has a filter that Istio does not support, such as one of an extension, so all its rules are invalid.",
  why: "Of the filters, istiod converts those for headers, redirects, rewrites, mirrors and CORS, of a GRPCRoute those for headers and mirrors, and of a backend those for headers. With any other filter, such as ExtensionRef, it drops every rule of the route and not only the one with the filter (Istio pilot/pkg/config/kube/gateway/conversion.go convertHTTPRoute, convertGRPCRoute, buildHTTPDestination; pilot/pkg/config/kube/gateway/route_collections.go computeRoute).",
  fix: "Remove the filter. For what it does, use a filter that Istio supports, or an EnvoyFilter, a WasmPlugin or an AuthorizationPolicy with the action CUSTOM for the Gateway.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: "All requests of the route get 404 at the gateway, or those of another route, also for rules without the filter. The condition `Accepted` of the route is True, and `ResolvedRefs` is False, with reason `InvalidFilter`.",
    wayOut: "Remove the filter, or apply the previous version of the route.",
    silentWhen:
      "All parents are Gateways of classes other than Istio's, or Services with waypoints of such classes, none of the Gateways that the route names is known, or the backend with the filter has weight 0.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(route, mesh) {
    const filters = unsupportedFilters(route).filter(({ type }) => type !== "");
    if (filters.length === 0 || !hasKnownParent(route, mesh) || mesh.get(isForOtherControllers, route)) return;
    for (const { at, type } of filters)
      yield {
        at,
        message: `Istio does not support filter ${type} ${at.includes("backendRefs") ? "of a backend" : `in a rule of ${route.originKind === "GRPCRoute" ? "a GRPCRoute" : "an HTTPRoute"}`}, so all rules of this route are invalid`,
      };
  },
});

/** Whether something shows that the route may be Istio's: other controllers have filters of extensions. */
const hasKnownParent = (route: KubernetesRoute, mesh: View): boolean =>
  route.spec.parentRefs.some((ref) => isKnown(parentOf(ref, route), route, mesh));

function isKnown({ kind, namespace, name }: Referenced, route: KubernetesRoute, mesh: View): boolean {
  const isNamed = ({ metadata }: AnyObject) => metadata.namespace === namespace && metadata.name === name;
  if (kind === "Gateway") return mesh.related(gatewaysOfRoute, route).some(isNamed);
  if (kind === "ListenerSet") return mesh.related(listenerSetsOfRoute, route).some(isNamed);
  return kind !== "other";
}
