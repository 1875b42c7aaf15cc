import { defineRule } from "../../engine/rule.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import { type Route, routesOf, shareOf, type WeightedDestination } from "../../mesh/traffic/virtual-services.ts";

export const virtualServiceCanaryStep = defineRule({
  id: "virtual-service-canary-step",
  subject: "VirtualService",
  reads: [],
  mode: "off",
  onlyOwnChanges: true,
  since: "0.1.0",
  tags: ["canary"],
  parameters: {
    maxStep: {
      summary: "The most points of a hundred that one update may move away from the stable destination",
      default: 20,
    },
    stable: {
      summary: "Subset or host of the stable destination; empty: the first destination of a route before the update",
      default: "",
    },
  },
  summary: "One update moves a large share of the requests away from the stable destination.",
  why: "The new version gets the requests at once (Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination), before small steps could show that it fails. Shares of weights are compared, so what counts is what Envoy does. A change towards the stable destination is a rollback and always allowed.",
  fix: "Move the traffic in several updates, each with a smaller step, and look at the errors of the new version in between. Controllers such as Argo Rollouts and Flagger only get a warning.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "If the new version fails, a large share of the requests fails at once.",
    wayOut: "Set the weights back: a change towards the stable destination is never denied.",
    silentWhen:
      "The route is new, its name or match changed, so that it is another route, or the step is within maxStep.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/traffic-shifting/",
  },

  *compare(before, after, { maxStep, stable }) {
    const old = Map.groupBy(routesOf(before.object), identityOf);
    for (const [identity, [now, ...others]] of Map.groupBy(routesOf(after.object), identityOf)) {
      const [was, ...more] = old.get(identity) ?? [];
      if (was === undefined || now === undefined || others.length > 0 || more.length > 0) continue;
      const destination = was.destinations.find((one, i) => isStable(one, i, stable));
      if (destination === undefined) continue;
      const moved = percentOf(destination, was) - percentOf(sameIn(now, destination), now);
      if (moved <= maxStep) continue;
      yield {
        at: now.at,
        message: `This update moves ${round(moved)} % of the requests of ${inWords(now)} away from ${shown(destination)}, at most ${maxStep} % are allowed in one step`,
        key: identity,
        // The step is from the stored object, which may have moved on.
        evidence: [before.object],
      };
    }
  },
});

const isStable = ({ destination: { host, subset } }: WeightedDestination, i: number, stable: string): boolean =>
  stable === "" ? i === 0 : subset === stable || host === stable;

const targetOf = ({ destination: { host, subset, port } }: WeightedDestination): string =>
  JSON.stringify([host, subset, port?.number]);

const sameIn = ({ destinations }: Route, wanted: WeightedDestination): WeightedDestination | undefined =>
  destinations.find((one) => targetOf(one) === targetOf(wanted));

const percentOf = (destination: WeightedDestination | undefined, route: Route): number =>
  destination === undefined ? 0 : 100 * shareOf(destination, route);

const round = (percent: number): number => Math.round(percent * 10) / 10;

/** A route stays the same while its name, or else its match, does. */
function identityOf({ protocol, route }: Route): string {
  return JSON.stringify([protocol, "name" in route && route.name ? route.name : route.match]);
}

const inWords = ({ route, protocol }: Route): string => ("name" in route ? routeInWords(route) : `a ${protocol} route`);

const shown = ({ destination: { host, subset } }: WeightedDestination): string =>
  subset ? `subset "${subset}" of "${host}"` : `"${host}"`;
