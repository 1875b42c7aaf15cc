import { defineRule, type Problem } from "../../engine/rule.ts";
import { attachedRoutes } from "../../mesh/gateways/attached-routes.ts";
import { gatewayServiceReads, podsOfGateway, servicesOfProxies } from "../../mesh/gateways/gateway-services.ts";
import { type ListenerGateway, listenerGateways, servicesOfAddresses } from "../../mesh/gateways/listener-gateways.ts";
import { type KubernetesRoute, namespaceOfRoute, routesOfKubernetesGateway } from "../../mesh/gateways/routes.ts";
import { type Gateway, isPlainHttp } from "../../mesh/gateways/servers.ts";
import { isForIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [...gatewayServiceReads, servicesOfAddresses, routesOfKubernetesGateway, namespaceOfRoute] as const;
type View = MeshView<(typeof reads)[number]>;

export const gatewayPlainHttp = defineRule({
  id: "gateway-plain-http",
  subject: ["Gateway", "KubernetesGateway"],
  reads,
  worksWithout: ["Gateway", "KubernetesGateway", "KubernetesRoute", "Namespace", "Service", "Workload"],
  mode: "warn",
  since: "0.1.0",
  // A load balancer in front of the gateway can terminate TLS, which no manifest shows.
  stage: "trial",
  tags: ["gateway"],
  summary: "A Gateway accepts requests over plain HTTP and does not redirect them to HTTPS.",
  why: "Without `tls.httpsRedirect`, the gateway forwards plain HTTP requests as they are (Istio pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig sets RequireTls only then), and a Gateway of the Gateway API that has no listener for HTTPS has nothing to redirect to. Everybody between the client and the gateway can read and change the requests, with their cookies and tokens.",
  fix: "Serve the hosts with HTTPS, and redirect: with `tls: { httpsRedirect: true }` at a server, or a route with a RequestRedirect at the listener for HTTP. If a load balancer in front of the gateway terminates TLS, add an exception.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["gateway"],
    seen: "`curl -I http://HOST/` answers 200 instead of a redirect (301).",
    wayOut: "Set httpsRedirect. If HTTPS is not ready yet, limit the host to clients that may use plain HTTP.",
    silentWhen:
      "The server redirects, or it speaks HTTPS; all Services of its pods are of type ClusterIP, as those of egress gateways, or those that the addresses of a Gateway of the Gateway API name, so that only the cluster reaches it; another listener of a Gateway of the Gateway API is for HTTPS, or all rules of the routes at the listener redirect to HTTPS. A redirect by the application itself or by a VirtualService is not looked at.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
  },

  *check(gateway, mesh) {
    if (!isServed(gateway, mesh.settings)) return;
    if (gateway.kind === "Gateway") {
      const problems = [...ofServers(gateway)];
      if (problems.length > 0 && !(yield* isInternal(gateway, mesh))) yield* problems;
    } else yield* ofListeners(gateway, mesh);
  },
});

function* ofServers({ spec }: Gateway): Iterable<Problem> {
  for (const [i, server] of spec.servers.entries())
    if (isPlainHttp(server) && server.tls?.httpsRedirect !== true)
      yield {
        at: ["spec", "servers", i],
        message: `This server accepts plain ${server.port?.protocol} for ${shown(server.hosts)} without a redirect to HTTPS`,
        key: `${server.port?.number} ${[...server.hosts].sort().join(" ")}`,
      };
}

const serviceType = "networking.istio.io/service-type";

/** Of a Gateway whose other listeners are for HTTPS, one for HTTP is usually there for redirects. */
function* ofListeners(gateway: KubernetesGateway, mesh: View): Iterable<Problem | undefined> {
  if (!isForIngress(gateway) || gateway.metadata.annotations[serviceType] === "ClusterIP") return;
  if (gateway.spec.listeners.some(({ protocol }) => protocol === "HTTPS" || protocol === "TLS")) return;
  const services = mesh.related(servicesOfAddresses, gateway);
  if (services.length >= gateway.spec.addresses.length && areInternal(services)) return;
  for (const [i, one] of listenerGateways(gateway).entries()) {
    const { name, port, protocol } = one.listener;
    if (protocol === "HTTP" && !(yield* onlyRedirects(one, mesh)))
      yield {
        at: ["spec", "listeners", i],
        message: `Listener ${name} accepts plain HTTP on port ${port}, and no listener of the Gateway is for HTTPS`,
        key: `${name} ${port}`,
      };
  }
}

/** Whether a listener has routes, and all of them redirect to HTTPS, which another Gateway serves. */
function* onlyRedirects(listener: ListenerGateway, mesh: View): Generator<undefined, boolean> {
  let redirects = false;
  for (const route of mesh.related(routesOfKubernetesGateway, listener.of)) {
    yield;
    if (attachedRoutes(listener, [route], mesh).length === 0) continue;
    if (!redirectsToHttps(route)) return false;
    redirects = true;
  }
  return redirects;
}

const redirectsToHttps = ({ spec: { rules } }: KubernetesRoute): boolean =>
  rules.length > 0 &&
  rules.every(({ filters }) => {
    // Of several redirects, the last one counts.
    const last = filters.findLast(({ requestRedirect }) => requestRedirect !== undefined);
    return last?.requestRedirect?.scheme?.toLowerCase() === "https";
  });

/** Whether Services lead to the pods from inside the cluster only. */
function* isInternal(gateway: Gateway, mesh: View): Generator<undefined, boolean> {
  if (!mesh.knowsAll("Workload") || !mesh.knowsAll("Service")) return false;
  const proxies = podsOfGateway(gateway, mesh);
  if (proxies.some(({ pod }) => pod.hostNetwork || pod.hasHostPort)) return false;
  const services = yield* servicesOfProxies(proxies, mesh);
  return areInternal([...services]);
}

const areInternal = (services: readonly Service[]): boolean =>
  services.length > 0 && services.every(({ spec: { type } }) => (type || "ClusterIP") === "ClusterIP");

const shown = (hosts: readonly string[]): string => {
  const [first, ...others] = hosts.map((host) => JSON.stringify(host));
  return others.length === 0 ? (first ?? "no host") : `${first} and ${others.length} more`;
};
