import { defineRule } from "../../engine/rule.ts";
import {
  type Route,
  routesOf,
  shownSum,
  type VirtualService,
  type WeightedDestination,
} from "../../mesh/traffic/virtual-services.ts";

const weight = "(has(d.weight) ? int(d.weight) : 0)";
/** In CEL: each route of an object as a list: what identifies it, its weights, which of them are given, and its stable weight. */
const itemsOf = (object: string): string =>
  ["http", "tcp", "tls"]
    .map((protocol) => {
      const match = "has(r.match) ? dyn(r.match) : dyn([])";
      const name = protocol === "http" ? `has(r.name) ? dyn(r.name) : ${match}` : match;
      const isStable =
        "((has(d.destination.subset) && d.destination.subset == params.stable) || d.destination.host == params.stable)";
      const stable = `r.route.filter(d, params.stable == '' || ${isStable}).map(d, ${weight})`;
      return `(has(${object}.spec.${protocol}) ? ${object}.spec.${protocol} : []).filter(r, has(r.route) && r.route.size() > 1).map(r, [
dyn([dyn('${protocol}'), ${name}, dyn(r.route.map(d, d.destination))]), dyn(r.route.map(d, ${weight})), dyn(r.route.map(d, has(d.weight))),
dyn(${stable}.size() > 0 ? ${stable}[0] : 0)])`;
    })
    .join("\n+ ");
const sumOf = (item: string): string => `${item}[1].map(w, int(w)).sum()`;
const problemsInCel = `(has(object.spec) ? ${itemsOf("object")} : []).filter(i, ${sumOf("i")} != 100 && i[1].exists(w, w != 0) && !i[1].exists(w, w < 0))`;
const isRollbackInCel = `has(oldObject.spec) && [${itemsOf("oldObject")}].all(before, [${itemsOf("object")}].all(after,
after.filter(i, i[0] == problem[0]).size() == 1 && before.filter(i, i[0] == problem[0]).size() == 1
&& before.filter(i, i[0] == problem[0]).all(old, problem[3] > old[3]
&& problem[3] * (${sumOf("old")} > 0 ? ${sumOf("old")} : 1) > (${sumOf("old")} > 0 ? old[3] : 0) * ${sumOf("problem")})))`;

export const virtualServiceWeightsNot100 = defineRule({
  id: "virtual-service-weights-not-100",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  tags: ["canary"],
  parameters: {
    stable: {
      summary:
        "Subset or host of the stable destination: a change that increases its weight and its share is a rollback and only warns; empty: the first destination of a route",
      default: "",
    },
  },
  summary: "The weights of a route's destinations do not sum to 100.",
  why: "Istio interprets weights as shares of their sum and drops destinations with a weight of 0 or without a weight (pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination; pilot/pkg/networking/core/networkfilter.go for tcp and tls): the traffic is split differently from the manifest, and Istio does not report this.",
  fix: "Change the weights of the route so that their sum is 100. Set a weight for every destination, 0 for no traffic.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "The new version gets another share than its number: 90 and 20 become 82 and 18 percent.",
    wayOut: "Apply the previous weights. All requests to the stable destination are always admitted.",
    silentWhen:
      "The route has one destination, which gets everything, or the weights are ones that istiod rejects (virtual-service-route-rejected).",
    page: "https://istio.io/latest/docs/tasks/traffic-management/traffic-shifting/",
  },

  cel: { problems: problemsInCel, isRollback: isRollbackInCel },

  *check(virtualService) {
    for (const route of routesOf(virtualService)) {
      const { at, destinations } = route;
      // A single destination receives all requests, regardless of its weight.
      if (destinations.length < 2) continue;
      const sum = destinations.reduce((total, { weight }) => total + (weight ?? 0), 0);
      if (sum === 100 || isRefused(destinations)) continue;
      yield {
        at,
        message: () => `Weights sum to ${sum}, not to 100: ${shownSum(destinations)} = ${sum}`,
        key: problemKey(route),
      };
    }
  },

  isRollback(before, after, { key }, { stable }) {
    const now = indexOf(after).byProblem.get(key ?? "");
    if (now === undefined) return false;
    const others = indexOf(after).byRoute.get(routeKey(now)) ?? [];
    const [old, ...olds] = indexOf(before).byRoute.get(routeKey(now)) ?? [];
    if (old === undefined || others.length > 1 || olds.length > 0) return false;
    const [{ weight, share }, was] = [stableOf(now, stable), stableOf(old, stable)];
    return weight > was.weight && share > was.share;
  },
});

interface RouteIndex {
  readonly byProblem: ReadonlyMap<string, Route>;
  readonly byRoute: ReadonlyMap<string, readonly Route[]>;
}
const indexed = new WeakMap<VirtualService, RouteIndex>();

/** It is asked for each route whose weights are wrong. */
function indexOf(virtualService: VirtualService): RouteIndex {
  let index = indexed.get(virtualService);
  if (index === undefined) {
    const routes = [...routesOf(virtualService)];
    const byProblem = new Map(routes.map((route) => [problemKey(route), route]));
    indexed.set(virtualService, (index = { byProblem, byRoute: Map.groupBy(routes, routeKey) }));
  }
  return index;
}

/** The weight of a route's stable destination, and its share of the requests. */
function stableOf({ destinations }: Route, stable: string): { weight: number; share: number } {
  const isStable = ({ destination: { host, subset } }: WeightedDestination, i: number) =>
    stable === "" ? i === 0 : subset === stable || host === stable;
  const weight = destinations.find(isStable)?.weight ?? 0;
  const sum = destinations.reduce((total, other) => total + (other.weight ?? 0), 0);
  return { weight, share: sum > 0 ? weight / sum : 0 };
}

/** virtual-service-route-rejected reports weights that istiod rejects. */
const isRefused = (destinations: readonly WeightedDestination[]): boolean =>
  destinations.every(({ weight = 0 }) => weight === 0) || destinations.some(({ weight = 0 }) => weight < 0);

/** Identifies the problem: other weights that are also wrong are a new mistake, and a route that moves is none. */
const problemKey = (route: Route): string =>
  JSON.stringify([routeKey(route), route.destinations.map(({ weight }) => weight ?? null)]);

const routeKeys = new WeakMap<Route["route"], string>();

/** Identifies the route. It is asked for several times for each route whose weights are wrong. */
function routeKey({ protocol, route, destinations }: Route): string {
  let key = routeKeys.get(route);
  if (key === undefined) {
    const to = destinations.map(({ destination }) => [destination.host, destination.subset, destination.port]);
    const name = "name" in route ? route.name : undefined;
    routeKeys.set(route, (key = JSON.stringify([protocol, name ?? route.match, to])));
  }
  return key;
}
