import { defineRule } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { type Acceptance, routeAcceptances } from "../../mesh/gateways/route-acceptance.ts";
import type { KubernetesRoute } from "../../mesh/gateways/routes.ts";

export const httpRouteNotAllowed = defineRule({
  id: "http-route-not-allowed",
  subject: "KubernetesRoute",
  reads: [routeAcceptances],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway"],
  summary:
    "No listener of a Gateway or a ListenerSet allows routes of this namespace or of this kind, so the route has no effect there.",
  why: "A listener accepts only routes of the Gateway's own namespace, or of that of its ListenerSet, unless `allowedRoutes.namespaces` says otherwise, and only the kinds of its protocol: HTTPRoute and GRPCRoute for HTTP and HTTPS, TLSRoute for TLS, TCPRoute for TCP (Istio pilot/pkg/config/kube/gateway/conversion.go referenceAllowed, pilot/pkg/config/kube/gatewaycommon/conversion.go GenerateGatewaySupportedKinds).",
  fix: "Allow the namespace or the kind in `allowedRoutes` of the listener, or use a Gateway of the route's own namespace.",
  incident: {
    symptoms: ["no-route"],
    proxies: ["gateway"],
    seen: "Requests get 404 at the gateway. The condition `Accepted` of the route is False, with reason `NotAllowedByListeners`.",
    wayOut: "Apply the previous version of the Gateway, or of the labels of the namespace that its listener selects.",
    silentWhen: "Another listener of the Gateway that the parent names allows the route.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  *check(route, mesh) {
    for (const { at, parent, result } of mesh.get(routeAcceptances, route))
      if (result === "namespace" || result === "kind")
        yield {
          at,
          message: `${idOf(parent)} does not allow ${whatOf(result, route)}, so the route has no effect there`,
          related: [parent],
          evidence: [parent],
        };
  },
});

const whatOf = (result: Acceptance, { originKind, metadata }: KubernetesRoute): string =>
  result === "kind" ? `${originKind} at its listeners` : `routes of namespace ${metadata.namespace}`;
