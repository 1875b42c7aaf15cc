import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, relation } from "../../view/view.ts";
import { oldestStreamFirst } from "../objects/creation-order.ts";
import { isServed } from "../objects/revision.ts";
import { hostOfServiceNamed, overlaps } from "../traffic/hosts.ts";
import { converted, dropped, type RouteOrigin } from "./converted-rules.ts";
import { rulesTaking, type StreamRule } from "./listener-streams.ts";
import { isOfRequests, type KubernetesRoute, parentOf } from "./routes.ts";
import { lostAmong, type LostRules } from "./unreachable-rules.ts";

/** A Service or a ServiceEntry that a route names as its parent. */
export interface ServicePlace {
  /** Of `rulesTakenAtService` and `streamsTakenAtService`. */
  readonly key: string;
  /** `Service namespace/name` or `ServiceEntry namespace/name` */
  readonly parent: string;
}

/** Routes of different namespaces are for different clients, so that the key has that of the route, too. */
export function servicePlacesOf(route: KubernetesRoute, settings: MeshSettings): readonly ServicePlace[] {
  if (!isServed(route, settings)) return [];
  const parents = route.spec.parentRefs.flatMap((ref) => {
    const { kind, namespace, name } = parentOf(ref, route);
    return kind === "Service" || kind === "ServiceEntry" ? [`${kind} ${namespace}/${name}`] : [];
  });
  const what = isOfRequests(route) ? "requests" : route.originKind;
  return [...new Set(parents)].map((parent) => ({ key: [parent, route.metadata.namespace, what].join(" "), parent }));
}

const routeByParent = index("KubernetesRoute", (route, settings) =>
  servicePlacesOf(route, settings).map(({ key }) => key),
);

/** A route for clients in the mesh and the routes of its namespace that have one of its parents, itself among them. */
export const routesBesideAtService = relation("routesBesideAtService", routeByParent, routeByParent);

/** The ports for which a route is at a parent; undefined: for all of them. */
function portsAt(route: KubernetesRoute, key: string): ReadonlySet<number | undefined> {
  const found = new Set<number | undefined>();
  for (const ref of route.spec.parentRefs) {
    const { kind, namespace, name } = parentOf(ref, route);
    if (key.startsWith(`${kind} ${namespace}/${name} `)) found.add(ref.port);
  }
  return found;
}

/**
 * The rules for requests that get none at a Service or a ServiceEntry. istiod merges the HTTPRoutes and GRPCRoutes of one namespace that
 * name the same port, or none, into one VirtualService (Istio pilot/pkg/config/kube/gateway/route_collections.go HTTPRouteCollection,
 * mergeHTTPRoutes). A rule is lost if it is in each of those that the route is in. What such VirtualServices take from each other differs
 * between sidecars and waypoints, and is not asked.
 */
export const rulesTakenAtService = fact(
  "rulesTakenAtService",
  "key",
  [routesBesideAtService],
  (key, mesh): ReadonlyMap<KubernetesRoute, LostRules> => {
    const result = new Map<KubernetesRoute, LostRules>();
    const routes = mesh.under(routesBesideAtService, [key]);
    if (routes.length < 2) return result;
    mesh.visited(routes.length);
    const merged = byPort(routes.filter(isOfRequests), key);
    for (const [port, some] of merged) {
      const lost = lostAmong([converted(some, { hosts: ["*"], domain: mesh.settings.domain, port })], port);
      for (const route of some) {
        const before = result.get(route);
        const here = lost.get(route) ?? none;
        result.set(route, before === undefined ? here : new Map([...before].filter(([i]) => here.has(i))));
      }
    }
    return result;
  },
);
const none: ReadonlyMap<number, RouteOrigin> = new Map();

function byPort(
  routes: readonly KubernetesRoute[],
  key: string,
): ReadonlyMap<number | undefined, readonly KubernetesRoute[]> {
  const found = new Map<number | undefined, KubernetesRoute[]>();
  for (const route of routes) {
    if (dropped(route) !== undefined) continue;
    for (const port of portsAt(route, key)) {
      const there = found.get(port);
      if (there === undefined) found.set(port, [route]);
      else there.push(route);
    }
  }
  return found;
}

/**
 * The TCPRoutes and TLSRoutes that get no connection at a Service or a ServiceEntry, each with the rule that takes them. istiod makes a
 * VirtualService of each route. Of those for TCP, proxies use the first rule at a port, and of those for TLS the first with a list of
 * server names; without hostnames, the names are those of the parent (Istio pilot/pkg/networking/core/tls.go
 * buildSidecarOutboundTCPFilterChainOpts, buildSidecarOutboundTLSFilterChainOpts,
 * pilot/pkg/networking/core/listener_waypoint.go getWaypointTCPRoutes). A route for all ports is lost only to another one for all.
 */
export const streamsTakenAtService = fact(
  "streamsTakenAtService",
  "key",
  [routesBesideAtService],
  (key, mesh): ReadonlyMap<KubernetesRoute, StreamRule> => {
    const result = new Map<KubernetesRoute, StreamRule>();
    const routes = mesh.under(routesBesideAtService, [key]);
    if (routes.length < 2) return result;
    mesh.visited(routes.length);
    const first = new Map<string, StreamRule>();
    for (const route of routes.filter((one) => !isOfRequests(one)).sort(oldestStreamFirst)) {
      const [rule] = rulesTaking(route);
      if (rule === undefined) continue;
      const names = namesOf(route, key, mesh.settings.domain);
      const takers = [...portsAt(route, key)].map((port) => {
        const by = first.get(`all ${names}`) ?? (port === undefined ? undefined : first.get(`${port} ${names}`));
        if (by === undefined) first.set(`${port ?? "all"} ${names}`, rule);
        return by;
      });
      const by = takers.includes(undefined) ? undefined : takers[0];
      if (by !== undefined && by.route !== route) result.set(route, by);
    }
    return result;
  },
);

/**
 * The list of server names that istiod makes of the hostnames of a TLSRoute. Without any, it is the host of the Service; of several, those
 * alone that the host of the Service matches are left, most often none, which is a list of its own (Istio
 * pilot/pkg/config/kube/gateway/conversion.go augmentTLSPortMatch, compatibleRoutesForHost). The hosts of a ServiceEntry are not looked up.
 */
function namesOf({ originKind, spec }: KubernetesRoute, key: string, domain: string): string {
  if (originKind !== "TLSRoute") return "";
  const host = hostOfParent(key, domain);
  const names = spec.hostnames.length === 0 ? ["*"] : spec.hostnames;
  if (names.length === 1) return names[0] === "*" ? (host ?? "") : names.join();
  return (host === undefined ? names : names.filter((name) => overlaps(host, name))).join();
}

function hostOfParent(key: string, domain: string): string | undefined {
  const [kind, path = ""] = key.split(" ");
  const [namespace = "", name = ""] = path.split("/");
  return kind === "Service" ? hostOfServiceNamed({ namespace, name }, domain) : undefined;
}
