import { defineRule, type Problem } from "../../engine/rule.ts";
import { attachedRoutes } from "../../mesh/gateways/attached-routes.ts";
import { gatewayServiceReads, podsOfGateway, servicesOfProxies } from "../../mesh/gateways/gateway-services.ts";
import {
  type ListenerGateway,
  type ListenerOwner,
  servicesOfAddresses,
} from "../../mesh/gateways/listener-gateways.ts";
import { gatewayOfListenerSet, listenersOfGateway } from "../../mesh/gateways/listener-sets.ts";
import {
  type KubernetesRoute,
  namespaceOfRoute,
  routesOfKubernetesGateway,
  routesOfListenerSet,
} from "../../mesh/gateways/routes.ts";
import { type Gateway, isPlainHttp } from "../../mesh/gateways/servers.ts";
import { isForIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import type { Service } from "../../mesh/membership/services.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { fact, type MeshView } from "../../view/view.ts";

const isForTls = (protocol: string | undefined): boolean => protocol === "HTTPS" || protocol === "TLS";

/** A fact, because a Gateway can have very many ListenerSets, of which each asks. */
const hasTlsListener = fact("hasTlsListener", "KubernetesGateway", [listenersOfGateway], (gateway, mesh): boolean =>
  mesh
    .get(listenersOfGateway, gateway)
    .all.some(({ listener: { protocol }, leftOut }) => leftOut === undefined && isForTls(protocol)),
);

const reads = [
  hasTlsListener,
  ...gatewayServiceReads,
  servicesOfAddresses,
  routesOfKubernetesGateway,
  routesOfListenerSet,
  gatewayOfListenerSet,
  listenersOfGateway,
  namespaceOfRoute,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const gatewayPlainHttp = defineRule({
  id: "gateway-plain-http",
  subject: ["Gateway", "KubernetesGateway", "ListenerSet"],
  reads,
  worksWithout: ["Gateway", "KubernetesGateway", "KubernetesRoute", "ListenerSet", "Namespace", "Service", "Workload"],
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
function* ofListeners(owner: ListenerOwner, mesh: View): Iterable<Problem | undefined> {
  const [gateway] = owner.kind === "ListenerSet" ? mesh.related(gatewayOfListenerSet, owner) : [owner];
  if (gateway === undefined || !isForClientsOutside(gateway, mesh) || mesh.get(hasTlsListener, gateway)) return;
  const own = mesh.get(listenersOfGateway, gateway).byOwner.get(owner) ?? [];
  for (const [i, one] of own.entries()) {
    const { name, port } = one.listener;
    if (acceptsPlainHttp(one) && !(yield* onlyRedirects(one, mesh)))
      yield {
        at: ["spec", "listeners", i],
        message: `Listener ${name} accepts plain HTTP on port ${port}, and no listener of the Gateway is for HTTPS`,
        key: `${name} ${port}`,
        ...(gateway === owner ? {} : { related: [gateway], evidence: [gateway] }),
      };
  }
}

const acceptsPlainHttp = ({ listener, leftOut }: ListenerGateway): boolean =>
  listener.protocol === "HTTP" && leftOut === undefined;

/** Whether a Gateway of the Gateway API is for ingress, and not reached from inside the cluster only. */
function isForClientsOutside(gateway: KubernetesGateway, mesh: View): boolean {
  if (!isForIngress(gateway) || gateway.metadata.annotations[serviceType] === "ClusterIP") return false;
  const services = mesh.related(servicesOfAddresses, gateway);
  return services.length < gateway.spec.addresses.length || !areInternal(services);
}

/** Whether a listener has routes, and all of them redirect to HTTPS, which another Gateway serves. */
function* onlyRedirects(listener: ListenerGateway, mesh: View): Generator<undefined, boolean> {
  let redirects = false;
  for (const route of routesOfOwner(listener, mesh)) {
    yield;
    if (attachedRoutes(listener, [route], mesh).length === 0) continue;
    if (!redirectsToHttps(route)) return false;
    redirects = true;
  }
  return redirects;
}

const routesOfOwner = ({ owner }: ListenerGateway, mesh: View): readonly KubernetesRoute[] =>
  owner.kind === "ListenerSet"
    ? mesh.related(routesOfListenerSet, owner)
    : mesh.related(routesOfKubernetesGateway, owner);

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
