import { defineRule, type Problem } from "../../engine/rule.ts";
import type { HttpRoute, VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import { tcpRoutesLostWithin } from "../../mesh/traffic/tcp-routes.ts";
import { tlsLossesWithin } from "../../mesh/traffic/tls-routes.ts";
import { unreachableHttpRoutes, unreachableReads } from "../../mesh/traffic/unreachable-routes.ts";

export const virtualServiceRouteUnreachable = defineRule({
  id: "virtual-service-route-unreachable",
  subject: "VirtualService",
  reads: unreachableReads,
  mode: "warn",
  since: "0.1.0",
  tags: ["canary"],
  summary: "No request reaches a route, because an earlier route takes all its requests.",
  why: "Envoy takes the first route whose match fits, in the order of the list, and istiod leaves out everything behind a route that matches all requests (Istio pilot/pkg/networking/core/route/route.go BuildHTTPRoutesForVirtualService; pilot/pkg/networking/core/tls.go buildSidecarOutboundTCPFilterChainOpts, buildSidecarOutboundTLSFilterChainOpts for tcp and tls). Two tls matches with one server name in different lists, and two tcp routes with one subnet, are both kept, and Envoy refuses the listener. Gateways ask tcp matches for their port and their gateways alone (pilot/pkg/networking/core/gateway.go l4SingleMatch). Of a regular expression, only the text that it begins with is compared with prefixes: what else it contains is not decided.",
  fix: "Move the more specific route before the other one, or remove it.",
  incident: {
    symptoms: ["no-effect", "other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Requests for the later route are answered by the destination of the earlier one.",
    wayOut: "Move the route in front of the other one, or apply the previous version.",
    silentWhen:
      "Only parts of the matches overlap, the earlier route is left out of a delegate (virtual-service-delegate-outside-match), more than 16 routes name the delegate, or one of them is a regular expression, unless it begins with the prefix of the earlier route.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(virtualService, mesh) {
    for (const { i, route, by, roots } of unreachableHttpRoutes(virtualService, mesh))
      yield {
        at: ["spec", "http", i],
        message: () => `No request reaches ${routeInWords(route)}: ${routeInWords(by)} comes first and takes them all`,
        key: JSON.stringify([route.name, route.match, identityOf(by)]),
        ...(roots.length === 0 ? {} : { evidence: roots }),
      };
    yield* streamProblems(virtualService);
  },
});

const identityOf = ({ name, match }: HttpRoute) => [name, match];

/** Of tcp and tls routes. */
function* streamProblems(virtualService: VirtualService): Iterable<Problem> {
  const { tcp } = virtualService.spec;
  for (const { i, by, kind, subnet } of tcpRoutesLostWithin(virtualService))
    yield {
      at: ["spec", "tcp", i],
      message:
        kind === "taken"
          ? `No connection reaches a tcp route: ${by.match.length === 0 ? "a tcp route without match" : "a tcp route with a wider match"} comes first and takes them all`
          : `Envoy refuses the listener for subnet "${subnet}" in sidecars: an earlier tcp route has it too, so two filter chains are for the same connections`,
      key: JSON.stringify(["tcp", ...(kind === "taken" ? [] : [kind, subnet]), tcp[i]?.match]),
      ...(kind === "refused" && { fix: "Keep the subnet in one of the routes alone." }),
    };
  for (const { i, j, kind, name, by } of tlsLossesWithin(virtualService))
    yield {
      at: ["spec", "tls", i, "match", j],
      message:
        kind === "taken"
          ? `No connection with server name "${name}" reaches this match: match ${by.j} of tls route ${by.i} comes first and takes them`
          : `Envoy refuses the listener for server name "${name}" in sidecars: match ${by.j} of tls route ${by.i} has it in another list of sniHosts, so two filter chains are for the same connections`,
      key: JSON.stringify(["tls", kind, name, by.match]),
      ...(kind === "refused" && { fix: "Keep the server name in one of the matches alone." }),
    };
}
