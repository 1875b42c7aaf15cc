import { defineRule } from "../../engine/rule.ts";
import type { Listener } from "../../mesh/gateways/listener-gateways.ts";
import type { KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { placesOf, routesAtListeners, routesBesideRoute } from "../../mesh/gateways/unreachable-rules.ts";

export const httpRouteRedirectLoop = defineRule({
  id: "http-route-redirect-loop",
  subject: "KubernetesRoute",
  reads: [routesAtListeners, routesBesideRoute],
  worksWithout: ["Namespace"],
  mode: "warn",
  since: "0.1.0",
  // In front of a Gateway, something can use other ports than its listeners.
  stage: "trial",
  tags: ["gateway"],
  summary:
    "A rule redirects requests to the URL that they are for, because its route is used at the listener for HTTPS, too.",
  why: "A redirect to HTTPS is right at a listener for HTTP. A route that names no `sectionName` is used at all listeners of the Gateway that offer its hostnames, and Envoy redirects requests over HTTPS as well, to their own URL: scheme, host, port and path stay the same (Istio pilot/pkg/config/kube/gateway/conversion.go createRedirectFilter, referenceAllowed).",
  fix: "Write the `sectionName` of the listener for HTTP in the parentRef of the redirecting route, and route HTTPS with another HTTPRoute.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["gateway"],
    seen: "Browsers give up with ERR_TOO_MANY_REDIRECTS; every answer has status 301 or 302 and the URL of the request as its Location.",
    wayOut: "Add the sectionName of the listener for HTTP to the route, or apply its previous version.",
    silentWhen:
      "The redirect changes the path, the host or the port, another route takes the requests at the listener, or TLS ends in front of the Gateway.",
    page: "https://gateway-api.sigs.k8s.io/guides/http-redirect-rewrite/",
  },

  *check(route, mesh) {
    const redirecting = [...redirectsOf(route)];
    if (redirecting.length === 0) return;
    const known = new Set<number>();
    for (const { key, hostname, gateway } of placesOf(route, mesh.settings)) {
      yield;
      for (const { listener, routes, lost } of mesh.get(routesAtListeners, key)) {
        if (!routes.includes(route)) continue;
        for (const { i, at, redirect } of redirecting) {
          if (known.has(i) || lost.get(route)?.has(i) || !isToItself(redirect, hostname, listener.listener)) continue;
          known.add(i);
          const { name, port = 0, protocol = "" } = listener.listener;
          yield {
            at,
            message: `Requests over ${protocol} on port ${port} are redirected to their own URL: the route is used at listener ${name} of Gateway ${gateway}, too`,
            key: JSON.stringify([gateway, name, redirect]),
            related: [listener.of],
            evidence: [listener.of],
          };
        }
      }
    }
  },
});

type Redirect = NonNullable<KubernetesRoute["spec"]["rules"][number]["filters"][number]["requestRedirect"]>;

function* redirectsOf({ spec }: KubernetesRoute) {
  for (const [i, { filters }] of spec.rules.entries()) {
    // Of several redirects, the last one counts.
    const j = filters.findLastIndex(({ requestRedirect }) => requestRedirect !== undefined);
    const redirect = filters[j]?.requestRedirect;
    if (redirect !== undefined && redirect.path === undefined)
      yield { i, redirect, at: ["spec", "rules", i, "filters", j, "requestRedirect"] };
  }
}

const usualPorts: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** Without a port, a redirect to a scheme is to the port of the scheme, and else to that of the request. */
function isToItself({ scheme, hostname: host, port }: Redirect, hostname: string, listener: Listener): boolean {
  const own = listener.protocol === "HTTPS" ? "https" : "http";
  const to = scheme ? scheme.toLowerCase() : own;
  const toPort = port || (scheme ? usualPorts[to] : listener.port);
  return to === own && toPort === listener.port && (!host || host.toLowerCase() === hostname.toLowerCase());
}
