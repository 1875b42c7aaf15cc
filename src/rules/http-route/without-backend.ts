import { defineRule } from "../../engine/rule.ts";
import { weightInCel, weightOf } from "../../mesh/gateways/routes.ts";

export const httpRouteWithoutBackend = defineRule({
  id: "http-route-without-backend",
  subject: "KubernetesRoute",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  tags: ["gateway", "canary"],
  summary: "A rule of a route has no backend with a weight above 0, so all its requests fail.",
  why: "Without a redirect, HTTP requests then get 500 and other connections are closed (Istio pilot/pkg/config/kube/gateway/conversion.go convertHTTPRoute, convertGRPCRoute, convertTLSRoute).",
  fix: "Add a backend, set a weight above 0, or remove the rule.",
  incident: {
    symptoms: ["backend-error"],
    proxies: ["gateway", "waypoint"],
    seen: "All requests of the rule get 500, and connections of TLS and TCP are closed.",
    wayOut: "Apply the previous version of the route.",
    silentWhen: "The rule redirects, or has a filter of an extension, which may answer the requests.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/",
  },

  cel: {
    problems: `(has(object.spec) && has(object.spec.rules) ? object.spec.rules : [])
.filter(r, !(has(r.filters) && r.filters.exists(f, has(f.type) && f.type in ['RequestRedirect', 'ExtensionRef'])))
.map(r, (has(r.backendRefs) ? r.backendRefs : []).map(b, ${weightInCel})).filter(weights, weights.all(w, w <= 0))`,
  },

  *check({ spec, originKind }) {
    const effect = ["HTTPRoute", "GRPCRoute"].includes(originKind)
      ? "all requests get 500"
      : "all connections are closed";
    for (const [i, { backendRefs, filters }] of spec.rules.entries()) {
      // What a filter of an extension does is not known.
      if (filters.some(({ type }) => type === "RequestRedirect" || type === "ExtensionRef")) continue;
      if (backendRefs.some((ref) => weightOf(ref) > 0)) continue;
      const weights = backendRefs.map((ref) => weightOf(ref)).join(" + ");
      yield {
        at: backendRefs.length === 0 ? ["spec", "rules", i] : ["spec", "rules", i, "backendRefs"],
        message:
          backendRefs.length === 0
            ? `This rule has neither a backend nor a redirect: ${effect}`
            : `No backend has a weight above 0 (${weights}): ${effect}`,
      };
    }
  },
});
