import { defineRule, type Problem } from "../../engine/rule.ts";
import { isOfferedBy, redirectsAll } from "../../mesh/gateways/attachment.ts";
import { attachedRoutes } from "../../mesh/gateways/attached-routes.ts";
import { addressesOfGateway, servicesOfAddresses } from "../../mesh/gateways/gateway-addresses.ts";
import { areInternal, isGatewayInternal } from "../../mesh/gateways/gateway-services.ts";
import { type ListenerGateway, type ListenerOwner } from "../../mesh/gateways/listener-gateways.ts";
import { gatewayOfListenerSet, listenersOfGateway } from "../../mesh/gateways/listener-sets.ts";
import {
  type KubernetesRoute,
  namespaceOfRoute,
  routesOfKubernetesGateway,
  routesOfListenerSet,
} from "../../mesh/gateways/routes.ts";
import { type Gateway, isPlainHttp, type Server } from "../../mesh/gateways/servers.ts";
import { isForIngress, type KubernetesGateway } from "../../mesh/membership/gateways.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { virtualServicesOfGateway } from "../../mesh/traffic/virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
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
  isGatewayInternal,
  servicesOfAddresses,
  addressesOfGateway,
  routesOfKubernetesGateway,
  routesOfListenerSet,
  gatewayOfListenerSet,
  listenersOfGateway,
  namespaceOfRoute,
  virtualServicesOfGateway,
] as const;
type View = MeshView<(typeof reads)[number]>;

export const gatewayPlainHttp = defineRule({
  id: "gateway-plain-http",
  subject: ["Gateway", "KubernetesGateway", "ListenerSet"],
  reads,
  worksWithout: [
    ...(["Gateway", "KubernetesGateway", "KubernetesRoute", "ListenerSet"] as const),
    ...(["Namespace", "Service", "ServiceEntry", "VirtualService", "Workload"] as const),
  ],
  mode: "warn",
  since: "0.1.0",
  // A load balancer in front of the gateway can terminate TLS, which no manifest shows.
  stage: "trial",
  tags: ["gateway"],
  summary: "A Gateway accepts requests over plain HTTP and does not redirect them to HTTPS.",
  why: "Without `tls.httpsRedirect`, the gateway forwards plain HTTP requests as they are (Istio pilot/pkg/networking/core/gateway.go buildGatewayHTTPRouteConfig sets RequireTls only then), and a Gateway of the Gateway API that has no listener for HTTPS has nothing to redirect to. Everybody between the client and the gateway can read and change the requests, with their cookies and tokens.",
  fix: "Serve the hosts with HTTPS, and redirect: with `tls: { httpsRedirect: true }` at a server, or a route with a redirect to HTTPS for the port of plain HTTP. If a load balancer in front of the gateway terminates TLS, add an exception.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: ["gateway"],
    seen: "`curl -I http://HOST/` answers 200 instead of a redirect (301).",
    wayOut: "Set httpsRedirect. If HTTPS is not ready yet, limit the host to clients that may use plain HTTP.",
    silentWhen:
      "The server redirects, or it speaks HTTPS; all Services of its pods are of type ClusterIP, as those of egress gateways, or those that the addresses of a Gateway of the Gateway API name, so that only the cluster reaches it; another listener of a Gateway of the Gateway API is for HTTPS, or all routes at the listener or the server redirect to HTTPS, but those for `/.well-known/acme-challenge`. A redirect by the application itself is not looked at.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/",
  },

  *check(gateway, mesh) {
    if (!isServed(gateway, mesh.settings)) return;
    if (gateway.kind === "Gateway") {
      const problems = yield* ofServers(gateway, mesh);
      if (problems.length > 0 && !mesh.get(isGatewayInternal, gateway)) yield* problems;
    } else yield* ofListeners(gateway, mesh);
  },
});

function* ofServers(gateway: Gateway, mesh: View): Generator<undefined, readonly Problem[]> {
  const found: Problem[] = [];
  for (const [i, server] of gateway.spec.servers.entries()) {
    if (!isPlainHttp(server) || redirectsAll(server)) continue;
    const isLookedAt = found.length < mostServers;
    if (!(isLookedAt && (yield* isRedirectedByRoutes(server, gateway, mesh))))
      found.push({
        at: ["spec", "servers", i],
        message: `This server accepts plain ${server.port?.protocol} for ${shown(server.hosts)} without a redirect to HTTPS`,
        key: `${server.port?.number} ${[...server.hosts].sort().join(" ")}`,
      });
  }
  return found;
}

/** For each of so many servers, all VirtualServices of the Gateway are compared with its hosts. */
const mostServers = 8;

/** Whether a server has VirtualServices, and all of them redirect what arrives there to HTTPS. */
function* isRedirectedByRoutes(server: Server, gateway: Gateway, mesh: View): Generator<undefined, boolean> {
  let redirects = false;
  for (const virtualService of mesh.related(virtualServicesOfGateway, gateway)) {
    yield;
    mesh.visited(virtualService.spec.hosts.length);
    if (!isOfferedBy(virtualService, { server, gateway }, mesh.settings)) continue;
    if (!redirectsAt(server.port?.number, virtualService)) return false;
    redirects = true;
  }
  return redirects;
}

/** What `redirectsAt` has found: one VirtualService can be bound to many Gateways. */
const redirecting = new WeakMap<VirtualService, Map<number | undefined, boolean>>();

/** Whether a VirtualService redirects all requests at a port, but those by which a certificate authority checks the host. */
function redirectsAt(port: number | undefined, virtualService: VirtualService): boolean {
  const known = redirecting.get(virtualService) ?? new Map<number | undefined, boolean>();
  redirecting.set(virtualService, known);
  let found = known.get(port);
  if (found === undefined) known.set(port, (found = redirectsAllAt(port, virtualService)));
  return found;
}

function redirectsAllAt(port: number | undefined, { spec }: VirtualService): boolean {
  for (const { match, redirect } of spec.http) {
    const here = match.filter((one) => !one.port || one.port === port);
    if (match.length > 0 && here.length === 0) continue;
    const isLast = here.length === 0 || here.some(isForAll);
    const isSecure = redirect?.scheme?.toLowerCase() === "https";
    if (isLast || !(isSecure || here.every(isOfAuthority))) return isSecure;
  }
  return false;
}

type Match = HttpRoute["match"][number];

const isOfAuthority = ({ uri }: Match): boolean =>
  (uri?.prefix ?? uri?.exact)?.startsWith("/.well-known/acme-challenge") === true;

const isForAll = ({ uri, authority, method, headers, queryParams }: Match): boolean =>
  (uri === undefined || uri.prefix === "/") &&
  authority === undefined &&
  method === undefined &&
  Object.keys(headers).length + Object.keys(queryParams).length === 0;

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

/** Whether a Gateway of the Gateway API is for ingress, has servers, and is not reached from inside the cluster only. */
function isForClientsOutside(gateway: KubernetesGateway, mesh: View): boolean {
  if (!isForIngress(gateway, mesh.settings) || gateway.metadata.annotations[serviceType] === "ClusterIP") return false;
  if (mesh.get(addressesOfGateway, gateway).unserved?.lacks === "hostname") return false;
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

const shown = (hosts: readonly string[]): string => {
  const [first, ...others] = hosts.map((host) => JSON.stringify(host));
  return others.length === 0 ? (first ?? "no host") : `${first} and ${others.length} more`;
};
