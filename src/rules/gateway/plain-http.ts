import { defineRule, type Problem } from "../../engine/rule.ts";
import { gatewayServiceReads, podsOfGateway, servicesOfProxies } from "../../mesh/gateways/gateway-services.ts";
import { type Gateway, isPlainHttp } from "../../mesh/gateways/servers.ts";
import { isForIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import type { MeshView } from "../../view/view.ts";

type View = MeshView<(typeof gatewayServiceReads)[number]>;

export const gatewayPlainHttp = defineRule({
  id: "gateway-plain-http",
  subject: ["Gateway", "KubernetesGateway"],
  reads: gatewayServiceReads,
  worksWithout: ["Gateway", "KubernetesGateway", "Service", "Workload"],
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
      "The server redirects, or it speaks HTTPS; all Services of its pods are of type ClusterIP, as those of egress gateways, so that only the cluster reaches it; or another listener of a Gateway of the Gateway API is for HTTPS. A redirect by the application itself or by a VirtualService is not looked at.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
  },

  *check(gateway, mesh) {
    if (!isServed(gateway, mesh.settings)) return;
    const problems = [...(gateway.kind === "Gateway" ? ofServers(gateway) : ofListeners(gateway))];
    if (problems.length > 0 && !(gateway.kind === "Gateway" && (yield* isInternal(gateway, mesh)))) yield* problems;
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
function* ofListeners(gateway: KubernetesGateway): Iterable<Problem> {
  const { listeners } = gateway.spec;
  if (!isForIngress(gateway) || gateway.metadata.annotations[serviceType] === "ClusterIP") return;
  if (listeners.some(({ protocol }) => protocol === "HTTPS" || protocol === "TLS")) return;
  for (const [i, { name, port, protocol }] of listeners.entries())
    if (protocol === "HTTP")
      yield {
        at: ["spec", "listeners", i],
        message: `Listener ${name} accepts plain HTTP on port ${port}, and no listener of the Gateway is for HTTPS`,
        key: `${name} ${port}`,
      };
}

/** Whether Services lead to the pods from inside the cluster only. */
function* isInternal(gateway: Gateway, mesh: View): Generator<undefined, boolean> {
  if (!mesh.knowsAll("Workload") || !mesh.knowsAll("Service")) return false;
  const proxies = podsOfGateway(gateway, mesh);
  if (proxies.some(({ pod }) => pod.hostNetwork || pod.hasHostPort)) return false;
  const services = yield* servicesOfProxies(proxies, mesh);
  return services.size > 0 && [...services].every(({ spec: { type } }) => (type || "ClusterIP") === "ClusterIP");
}

const shown = (hosts: readonly string[]): string => {
  const [first, ...others] = hosts.map((host) => JSON.stringify(host));
  return others.length === 0 ? (first ?? "no host") : `${first} and ${others.length} more`;
};
