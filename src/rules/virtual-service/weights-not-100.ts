import { defineRule } from "../../engine/rule.ts";
import { type Route, routesOf, shownSum, type WeightedDestination } from "../../mesh/virtual-services.ts";

export const weightsNot100 = defineRule({
  id: "virtual-service-weights-not-100",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  tags: ["canary"],
  summary: "The weights of a route's destinations do not sum to 100.",
  why: "Istio takes weights as shares of their sum and drops destinations whose weight is 0 or missing (pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination; networkfilter.go for tcp and tls): traffic splits otherwise than the manifest says, and nobody is told.",
  fix: "Make the weights of the route sum to 100; give every destination a weight, 0 for none.",

  *check(virtualService) {
    for (const route of routesOf(virtualService)) {
      const { at, destinations } = route;
      // A single destination gets everything, whatever its weight says.
      if (destinations.length < 2) continue;
      const sum = destinations.reduce((total, { weight }) => total + (weight ?? 0), 0);
      if (sum === 100 || isRefused(destinations)) continue;
      yield {
        at,
        message: `Weights sum to ${sum}, not to 100: ${shownSum(destinations)} = ${sum}`,
        key: keyOf(route),
      };
    }
  },
});

/** Weights that istiod refuses altogether are virtual-service-route-rejected. */
const isRefused = (destinations: readonly WeightedDestination[]): boolean =>
  destinations.every(({ weight = 0 }) => weight === 0) || destinations.some(({ weight = 0 }) => weight < 0);

/** The route, whatever its weights: a sum that goes from wrong to wrong is no new mistake. */
function keyOf({ protocol, route, destinations }: Route): string {
  const to = destinations.map(({ destination }) => [destination.host, destination.subset, destination.port]);
  const name = "name" in route ? route.name : undefined;
  return JSON.stringify([protocol, name ?? route.match, to]);
}
