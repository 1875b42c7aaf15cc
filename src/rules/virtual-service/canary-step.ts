import { defineRule } from "../../engine/rule.ts";
import { fullHost } from "../../mesh/traffic/hosts.ts";
import { routeInWords } from "../../mesh/traffic/route-order.ts";
import {
  type Route,
  routesOf,
  shareOf,
  type VirtualService,
  type WeightedDestination,
} from "../../mesh/traffic/virtual-services.ts";
import type { MeshSettings } from "../../view/settings.ts";

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
      "The route is new or leaves its requests to a delegate, its name or match changed, so that it is another route, other routes have the same name or match, no destination is the stable one, the step is within maxStep, or all requests go to one subset of the host that had them. Mirrors are copies, and count for nothing.",
    page: "https://istio.io/latest/docs/tasks/traffic-management/traffic-shifting/",
  },

  *compare(before, after, { maxStep, stable }) {
    for (const [was, now] of keptRoutes(before.object, after.object)) {
      const full = fullIn(before.object.metadata.namespace, before.mesh.settings);
      const destination = was.destinations.find(stable === "" ? Boolean : isStable(stable, full));
      if (destination === undefined) continue;
      const moved = percentOf(was, isSameAs(destination, full)) - percentKept(now, destination, full);
      if (moved <= maxStep) continue;
      yield {
        at: now.at,
        message: `This update moves ${round(moved)} % of the requests of ${inWords(now)} away from ${shown(destination)}, at most ${maxStep} % are allowed in one step`,
        key: identityOf(now),
        // The step is from the stored object, which may have moved on.
        evidence: [before.object],
      };
    }
  },
});

/**
 * Each route that is there before and after, alone with its name or match. One that leaves its requests to a delegate is left out: another
 * object says where they go.
 */
function* keptRoutes(before: VirtualService, after: VirtualService): Iterable<readonly [was: Route, now: Route]> {
  const old = Map.groupBy(routesOf(before), identityOf);
  for (const [identity, [now, ...others]] of Map.groupBy(routesOf(after), identityOf)) {
    const [was, ...more] = old.get(identity) ?? [];
    if (was === undefined || now === undefined || others.length > 0 || more.length > 0) continue;
    if (!("delegate" in now.route && now.route.delegate !== undefined)) yield [was, now];
  }
}

type FullHost = (host: string) => string;
const fullIn =
  (namespace: string, { domain }: MeshSettings): FullHost =>
  (host) =>
    fullHost(host, namespace, domain);

const isStable =
  (stable: string, full: FullHost) =>
  ({ destination: { host, subset } }: WeightedDestination): boolean =>
    subset === stable || full(host) === full(stable);

/** Whether it is the same target, with a short or a full host: a route can have several entries for one. */
function isSameAs({ destination }: WeightedDestination, full: FullHost): (other: WeightedDestination) => boolean {
  const targetOf = ({ host, subset, port }: WeightedDestination["destination"]) =>
    JSON.stringify([full(host), subset ?? "", port?.number]);
  const target = targetOf(destination);
  return (other) => targetOf(other.destination) === target;
}

/**
 * What a route still sends to a destination. The endpoints of a subset are among those of its host (Istio
 * pilot/pkg/xds/endpoints/endpoint_builder.go filterIstioEndpoint), so that subsets in the place of a whole host move
 * requests between versions that had them before. The subset with the largest share is taken for the stable one.
 */
function percentKept(now: Route, was: WeightedDestination, full: FullHost): number {
  const isSame = isSameAs(was, full);
  if (was.destination.subset || now.destinations.some(isSame)) return percentOf(now, isSame);
  const isPart = ({ destination: { host, port } }: WeightedDestination): boolean =>
    isSame({ ...was, destination: { host, subset: undefined, port } });
  const bySubset = Map.groupBy(now.destinations.filter(isPart), ({ destination }) => destination.subset);
  return Array.from(bySubset.values(), (part) => percentTo(part, now)).reduce((most, one) => Math.max(most, one), 0);
}

const percentOf = (route: Route, isCounted: (one: WeightedDestination) => boolean): number =>
  percentTo(route.destinations.filter(isCounted), route);
const percentTo = (part: readonly WeightedDestination[], route: Route): number =>
  part.reduce((sum, one) => sum + 100 * shareOf(one, route), 0);

const round = (percent: number): number => Math.round(percent * 10) / 10;

/** A route stays the same while its name, or else its match, does. */
function identityOf({ protocol, route }: Route): string {
  return JSON.stringify([protocol, "name" in route && route.name ? route.name : route.match]);
}

const inWords = ({ route, protocol }: Route): string => ("name" in route ? routeInWords(route) : `a ${protocol} route`);

const shown = ({ destination: { host, subset } }: WeightedDestination): string =>
  subset ? `subset "${subset}" of "${host}"` : `"${host}"`;
