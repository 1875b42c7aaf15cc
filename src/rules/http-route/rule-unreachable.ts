import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { RouteOrigin } from "../../mesh/gateways/converted-rules.ts";
import {
  type LostStream,
  lostStreamReads,
  lostStreamsOf,
  rulesTaking,
  type StreamRule,
  streamsLostWithin,
} from "../../mesh/gateways/listener-streams.ts";
import { isOfRequests, type KubernetesRoute } from "../../mesh/gateways/routes.ts";
import { isForOtherControllers } from "../../mesh/waypoints/other-controllers.ts";
import { ruleMatchInWords } from "../../mesh/gateways/rule-wording.ts";
import {
  type HostnamePlace,
  type LostRules,
  placesOf,
  routesBesideRoute,
  rulesLostWithin,
  rulesTaken,
} from "../../mesh/gateways/unreachable-rules.ts";
import {
  routesBesideAtService,
  rulesTakenAtService,
  servicePlacesOf,
  streamsTakenAtService,
} from "../../mesh/gateways/service-routes.ts";
import { oldestRouteFirst, precedence } from "../../mesh/objects/creation-order.ts";
import type { MeshView } from "../../view/view.ts";

export const httpRouteRuleUnreachable = defineRule({
  id: "http-route-rule-unreachable",
  subject: "KubernetesRoute",
  reads: [
    isForOtherControllers,
    rulesTaken,
    routesBesideRoute,
    ...lostStreamReads,
    rulesTakenAtService,
    streamsTakenAtService,
    routesBesideAtService,
  ],
  worksWithout: ["KubernetesGateway", "Namespace", "Service"],
  mode: "warn",
  since: "0.1.0",
  // Two routes with one hostname may be on their way from one to the other.
  stage: "trial",
  tags: ["gateway", "canary"],
  summary: "No request or connection reaches a rule of a route, because another rule takes all of them.",
  why: "The rules of all routes with one hostname at a listener are sorted: exact paths, then prefixes, then regular expressions, at each the longer first, and of equal ones that of the oldest route. istiod leaves out everything behind a rule for all requests, so that no expression counts beside a rule for the prefix `/` or without a match (Istio pilot/pkg/config/kube/gateway/conversion.go sortHTTPRoutes, pilot/pkg/config/kube/gateway/route_collections.go mergeHTTPRoutes, pilot/pkg/networking/core/route/route.go BuildHTTPRoutesForVirtualService). A listener for TCP, and one that ends TLS for no HTTP, has one rule alone, whatever the hostnames are: the first of the oldest TCPRoute or TLSRoute, those of the Gateway's namespace before all others. One that passes TLS on leaves out a rule of a TLSRoute with all its hostnames, if an earlier one has one of them (pilot/pkg/networking/core/gateway.go buildGatewayNetworkFiltersFromTCPRoutes, buildGatewayNetworkFiltersFromTLSRoutes, pilot/pkg/model/push_context.go VirtualServicesForGateway). Of routes of one namespace with a Service as their parent, sidecars and waypoints use the rules in the same order, and for TCP, or one list of server names, the first alone (pilot/pkg/networking/core/tls.go buildSidecarOutboundTCPFilterChainOpts, buildSidecarOutboundTLSFilterChainOpts). There, a TLSRoute with several hostnames keeps those alone that are the host of the Service, most often none (pilot/pkg/config/kube/gateway/conversion.go compatibleRoutesForHost). The status of the route does not tell.",
  fix: "Write the paths as prefixes or exact paths instead of regular expressions, give the other rule a narrower match, or remove one of the two. Give each TCPRoute a listener of its own, and each TLSRoute hostnames of its own.",
  incident: {
    symptoms: ["no-effect", "other-destination"],
    proxies: ["gateway", "sidecar", "waypoint"],
    seen: "Requests for the rule are answered by the backends of the other one, although the route is accepted.",
    wayOut:
      "Apply the previous version of the route. If two routes have the hostname, remove the rule from the older one.",
    silentWhen:
      "Only parts of the matches overlap, a regular expression does not begin with the prefix of the other rule, or the routes have different hostnames. Of two HTTPRoutes for a Service, only one names the port, or they are of different namespaces. A TCPRoute or a TLSRoute gets connections at another listener that the same reference leads to.",
    page: "https://gateway-api.sigs.k8s.io/api-types/httproute/",
  },

  *check(route, mesh) {
    if (mesh.get(isForOtherControllers, route)) return;
    if (!isOfRequests(route)) {
      yield* ofStreams(route, mesh);
      return;
    }
    const lost = rulesLostWithin(route, mesh.settings.domain);
    for (const [i, by] of lost) yield problemOf(route, i, by, undefined);
    const known = new Set(lost.keys());
    for (const [place, taken] of takenAt(route, mesh)) {
      yield;
      for (const [i, by] of taken ?? []) {
        if (known.has(i) || by.object === route) continue;
        known.add(i);
        yield problemOf(route, i, by, place);
      }
    }
  },
});

type Place = Pick<HostnamePlace, "key" | "hostname" | "parent">;

/** The rules that get no request at each parent of a route. */
function* takenAt(
  route: KubernetesRoute,
  mesh: MeshView<typeof rulesTaken | typeof rulesTakenAtService>,
): Iterable<readonly [Place, LostRules | undefined]> {
  for (const place of placesOf(route, mesh.settings)) yield [place, mesh.get(rulesTaken, place.key).get(route)];
  for (const place of servicePlacesOf(route, mesh.settings))
    yield [{ ...place, hostname: "*" }, mesh.get(rulesTakenAtService, place.key).get(route)];
}

const sortedByMatches = "because istiod sorts rules by their matches";

function problemOf(route: KubernetesRoute, i: number, by: RouteOrigin, place: Place | undefined): Problem {
  const written = route.spec.rules[i]?.matches ?? [];
  const lost = { object: route, i, match: written[0] };
  const at = ["spec", "rules", i];
  const key = JSON.stringify([place?.key, written, idOf(by.object), by.match]);
  if (place === undefined)
    return {
      at,
      message: `No request reaches ${inWords(lost)}: ${inWords(by)} comes first and takes them all${by.i > i ? `, ${sortedByMatches}` : ""}`,
      key,
    };
  const hosts = place.hostname === "*" ? "" : ` for "${place.hostname}"`;
  // A GRPCRoute without a match comes after an HTTPRoute without one, however old it is.
  const isEqual = ruleMatchInWords(lost) === ruleMatchInWords(by) && oldestRouteFirst(by.object, route) < 0;
  const because = isEqual ? `which ${precedence(by.object, route)}` : sortedByMatches;
  return {
    at,
    message: `No request${hosts} reaches ${inWords(lost)} at ${place.parent}: ${inWords(by)} of ${idOf(by.object)} takes them, ${because}`,
    key,
    related: [by.object],
    evidence: [by.object],
  };
}

function* ofStreams(
  route: KubernetesRoute,
  mesh: MeshView<(typeof lostStreamReads)[number] | typeof streamsTakenAtService>,
): Iterable<Problem> {
  for (const [i, by] of streamsLostWithin(route))
    yield {
      at: ["spec", "rules", i],
      message: `No connection reaches rule ${i}: rule ${by.i} comes first and takes them all`,
      key: `${by.i}`,
    };
  for (const lost of lostStreamsOf(route, mesh)) yield ofStream(route, lost);
  for (const { key, parent } of servicePlacesOf(route, mesh.settings)) {
    const by = mesh.get(streamsTakenAtService, key).get(route);
    if (by !== undefined) yield ofStreamAtService(route, parent, by);
  }
}

function ofStreamAtService(route: KubernetesRoute, parent: string, by: StreamRule): Problem {
  const [own] = rulesTaking(route);
  const i = own?.i ?? 0;
  const isOfOneList = by.route.spec.hostnames.join() === route.spec.hostnames.join();
  const why = isOfOneList ? "" : "; of several hostnames, istiod keeps those that are the host of the Service alone";
  return {
    at: ["spec", "rules", i],
    message: `No connection reaches rule ${i} at ${parent}: rule ${by.i} of ${idOf(by.route)} takes them, which ${precedence(by.route, route)}${why}`,
    fix: isOfOneList
      ? "Write the backends of both into one rule, or delete one of the two."
      : "Write a TLSRoute with one hostname for each of them.",
    key: JSON.stringify([parent, idOf(by.route)]),
    related: [by.route],
    evidence: [by.route],
  };
}

function ofStream(route: KubernetesRoute, { i, listener, parent, gateway, by }: LostStream): Problem {
  const at = `listener "${listener.name}" of ${idOf(parent)}`;
  const rule = `rule ${by.i} of ${idOf(by.route)}`;
  const because = firstBecause(by.route, route, gateway.metadata.namespace);
  return {
    at: ["spec", "rules", i],
    ...(by.name === undefined
      ? {
          message: `No connection reaches rule ${i} at ${at}, which has one rule alone: ${rule} takes them, which ${because}`,
          fix: "Give the route a listener with a port of its own, or delete one of the two.",
        }
      : {
          message: `No connection reaches rule ${i} at ${at}: ${rule} is for server name "${by.name}" too and ${because}`,
          fix: `Remove hostname "${by.name}" from one of the two: istiod leaves out the later rule with all its hostnames.`,
        }),
    key: JSON.stringify([idOf(parent), listener.name, by.name, idOf(by.route)]),
    related: [by.route],
    evidence: [by.route],
  };
}

/** Routes of the namespace of the gateway come before older ones. */
function firstBecause(by: KubernetesRoute, route: KubernetesRoute, namespace: string): string {
  const isNearer = by.metadata.namespace === namespace && route.metadata.namespace !== namespace;
  return isNearer ? "is in the namespace of the gateway" : precedence(by, route);
}

function inWords(origin: Pick<RouteOrigin, "object" | "i" | "match">): string {
  const shown = ruleMatchInWords(origin);
  return `rule ${origin.i}${shown === undefined ? "" : ` (${shown})`}`;
}
