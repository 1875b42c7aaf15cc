import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { isOfferedBy } from "../../mesh/gateways/attachment.ts";
import { routesInOrder } from "../../mesh/gateways/merged-routes.ts";
import type { Listener, ListenerGateway } from "../../mesh/gateways/listener-gateways.ts";
import type { KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { type Gateway, isPlainHttp, type Server, terminatesHttps } from "../../mesh/gateways/servers.ts";
import { placesOf, routesAtListeners, routesBesideRoute } from "../../mesh/gateways/unreachable-rules.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { gatewaysOfVirtualService, isDelegate, nameOf } from "../../mesh/traffic/virtual-service-clients.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import type { MeshView } from "../../view/view.ts";

const reads = [routesAtListeners, routesBesideRoute, gatewaysOfVirtualService] as const;
type View = MeshView<(typeof reads)[number]>;

export const routesRedirectLoop = defineRule({
  id: "routes-redirect-loop",
  subject: ["VirtualService", "KubernetesRoute"],
  reads,
  onlyWithFields: ["spec.http.redirect", "spec.rules.filters"],
  worksWithout: ["Namespace", "Gateway", "KubernetesGateway", "VirtualService", "KubernetesRoute"],
  mode: "warn",
  since: "0.1.0",
  // In front of a Gateway, something can use other ports than its listeners.
  stage: "trial",
  tags: ["gateway"],
  summary:
    "A rule redirects requests to the URL that they are for, because its route is used at the listener for HTTPS, too.",
  why: "A redirect to HTTPS is right for plain HTTP. A route that names no `sectionName` is used at all listeners of the Gateway that offer its hostnames, and one of a VirtualService at all servers of its Gateways, and Envoy redirects requests over HTTPS as well, to their own URL: scheme, host, port and path stay the same (Istio pilot/pkg/config/kube/gateway/conversion.go createRedirectFilter, pilot/pkg/networking/core/route/route.go ApplyRedirect).",
  fix: "Write the `sectionName` of the listener for HTTP in the parentRef, and route HTTPS with another HTTPRoute; in a VirtualService, give the route `match: [{ port: 80 }]`, or set `tls.httpsRedirect` at the server for HTTP.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["gateway"],
    seen: "Browsers give up with ERR_TOO_MANY_REDIRECTS; every answer has status 301 or 302 and the URL of the request as its Location.",
    wayOut: "Restrict the route to the listener or the port for HTTP, or apply its previous version.",
    silentWhen:
      "The redirect changes the path, the host or the port, another route takes the requests at the listener, or TLS ends in front of the Gateway.",
    page: "https://gateway-api.sigs.k8s.io/guides/http-redirect-rewrite/",
  },

  *check(route, mesh) {
    if (route.kind === "VirtualService") yield* inVirtualService(route, mesh);
    else yield* inKubernetesRoute(route, mesh);
  },
});

function* inKubernetesRoute(route: KubernetesRoute, mesh: View): Iterable<Problem | undefined> {
  const redirecting = [...redirectsOf(route)];
  if (redirecting.length === 0) return;
  const known = new Set<number>();
  for (const place of placesOf(route, mesh.settings)) {
    yield;
    const listeners = mesh.get(routesAtListeners, place.key).filter(({ routes }) => routes.has(route));
    const pairs = listeners.flatMap((at) => redirecting.map((one) => ({ ...at, one })));
    for (const { listener, lost, one } of pairs) {
      const isReached = !known.has(one.i) && lost.get(route)?.has(one.i) !== true;
      if (!isReached || !isToItself(one.redirect, place.hostname, listener.listener)) continue;
      known.add(one.i);
      yield problemAt(listener, place.parent, one);
    }
  }
}

function problemAt({ listener, owner }: ListenerGateway, parent: string, { at, redirect }: WrittenRedirect): Problem {
  const { name, port = 0, protocol = "" } = listener;
  return {
    at,
    message: `Requests over ${protocol} on port ${port} are redirected to their own URL: the route is used at listener ${name} of ${parent}, too`,
    key: JSON.stringify([parent.replace("Gateway ", ""), name, redirect]),
    related: [owner],
    evidence: [owner],
  };
}

/** What other VirtualServices take at a gateway is not asked: the redirect has to be the first route for some of its requests. */
function* inVirtualService(virtualService: VirtualService, mesh: View): Iterable<Problem | undefined> {
  if (!isServed(virtualService, mesh.settings) || isDelegate(virtualService)) return;
  if (!virtualService.spec.http.some(isPlainRedirect)) return;
  const known = new Set<number>();
  for (const { gateway, scheme, port } of placesAt(virtualService, mesh)) {
    yield;
    for (const { i, route, by } of routesInOrder(nameOf(gateway), [virtualService], { port })) {
      if (known.has(i) || by !== undefined || !isRedirectedTo(route, scheme, port)) continue;
      known.add(i);
      yield {
        at: ["spec", "http", i, "redirect"],
        message: `Requests over ${scheme.toUpperCase()} on port ${port} are redirected to their own URL: the route is used at this server of ${idOf(gateway)}, too`,
        key: JSON.stringify([nameOf(gateway), port, route.redirect]),
        related: [gateway],
        evidence: [gateway],
      };
    }
  }
}

interface Place {
  readonly gateway: Gateway;
  readonly scheme: "http" | "https";
  readonly port: number;
}

/** At each of so many ports, the routes are compared anew. */
const mostPorts = 8;

/** The ports at which servers route requests by a VirtualService. */
function placesAt(virtualService: VirtualService, mesh: View): readonly Place[] {
  const found = new Map<string, Place>();
  for (const gateway of mesh.related(gatewaysOfVirtualService, virtualService))
    for (const server of gateway.spec.servers) {
      const scheme = schemeOf(server);
      const { number: port = 0 } = server.port ?? {};
      const key = `${scheme} ${port}`;
      if (scheme === undefined || found.size === mostPorts || found.has(key)) continue;
      if (isOfferedBy(virtualService, { server, gateway }, mesh.settings)) found.set(key, { gateway, scheme, port });
    }
  return [...found.values()];
}

const isPlainRedirect = ({ redirect }: HttpRoute): boolean =>
  redirect !== undefined && !redirect.uri && !redirect.prefixRewrite && !redirect.authority;

const isRedirectedTo = (route: HttpRoute, scheme: string, port: number): boolean =>
  route.redirect !== undefined &&
  isPlainRedirect(route) &&
  isKept(route.redirect, scheme, port) &&
  isForScheme(route, scheme);

/** The scheme of requests that a server routes; undefined: it routes none, or redirects them itself. */
function schemeOf(server: Server): "http" | "https" | undefined {
  if (terminatesHttps(server)) return "https";
  return isPlainHttp(server) && server.tls?.httpsRedirect !== true ? "http" : undefined;
}

/** Without a port, that of the request stays in the URL, also with FROM_PROTOCOL_DEFAULT: Envoy removes only that of another scheme. */
const isKept = ({ scheme: to, port: toPort }: NonNullable<HttpRoute["redirect"]>, scheme: string, port: number) =>
  (to || scheme).toLowerCase() === scheme && (!toPort || toPort === port);

const isForScheme = ({ match }: HttpRoute, scheme: string): boolean =>
  match.length === 0 || match.some((one) => one.scheme === undefined || one.scheme.exact === scheme);

type Redirect = NonNullable<KubernetesRoute["spec"]["rules"][number]["filters"][number]["requestRedirect"]>;

interface WrittenRedirect {
  /** The position of its rule. */
  readonly i: number;
  readonly at: Problem["at"];
  readonly redirect: Redirect;
}

function* redirectsOf({ spec }: KubernetesRoute): Iterable<WrittenRedirect> {
  for (const [i, { filters }] of spec.rules.entries()) {
    // Of several redirects, the last one counts.
    const j = filters.findLastIndex(({ requestRedirect }) => requestRedirect !== undefined);
    const redirect = filters[j]?.requestRedirect;
    if (redirect !== undefined && redirect.path === undefined)
      yield { i, redirect, at: ["spec", "rules", i, "filters", j, "requestRedirect"] };
  }
}

const usualPorts: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** A host that is written has no port, unless that of the listener is added to it, as without a scheme. */
function isToItself({ scheme, hostname: host, port }: Redirect, hostname: string, listener: Listener): boolean {
  const own = listener.protocol === "HTTPS" ? "https" : "http";
  const isSamePort = !port || port === listener.port;
  if ((scheme || own).toLowerCase() !== own || !isSamePort) return false;
  if (!host) return true;
  const hasPort = port !== undefined || !scheme || listener.port === usualPorts[own];
  return hasPort && host.toLowerCase() === hostname.toLowerCase();
}
