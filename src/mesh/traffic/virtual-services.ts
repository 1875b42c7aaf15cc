import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";

export type VirtualService = ObjectOf<"VirtualService">;
export type HttpRoute = VirtualService["spec"]["http"][number];
export type StreamRoute = VirtualService["spec"]["tcp"][number] | VirtualService["spec"]["tls"][number];
export type WeightedDestination = StreamRoute["route"][number] | HttpRoute["route"][number];
export type Protocol = "http" | "tcp" | "tls";

/** One entry of `spec.http`, `spec.tcp` or `spec.tls`. */
export interface Route {
  /** The path of the list of destinations: `["spec", "http", 0, "route"]`. */
  readonly at: Path;
  readonly protocol: Protocol;
  readonly route: HttpRoute | StreamRoute;
  readonly destinations: readonly WeightedDestination[];
}

export function* routesOf({ spec }: VirtualService): Iterable<Route> {
  for (const protocol of ["http", "tcp", "tls"] as const)
    for (const [i, route] of spec[protocol].entries())
      yield { at: ["spec", protocol, i, "route"], protocol, route, destinations: route.route };
}

/** The weights of a route as a sum: `90 + 0 (not set)`. */
export const shownSum = (destinations: readonly WeightedDestination[]): string =>
  destinations.map(({ weight }) => (weight === undefined ? "0 (not set)" : String(weight))).join(" + ");

/**
 * The share of the requests that a destination of a route receives, 0 to 1. A single destination receives all,
 * regardless of its weight.
 */
export function shareOf({ weight }: WeightedDestination, { destinations }: Pick<Route, "destinations">): number {
  if (destinations.length === 1) return 1;
  const sum = destinations.reduce((total, other) => total + (other.weight ?? 0), 0);
  return sum === 0 ? 0 : (weight ?? 0) / sum;
}

/** A destination or mirror that receives requests. */
export interface Traffic {
  /** The path of the destination: `["spec", "http", 0, "route", 1, "destination"]`. */
  readonly at: Path;
  readonly protocol: Protocol;
  readonly route: HttpRoute | StreamRoute;
  readonly destination: WeightedDestination["destination"];
  /** Set if perhaps no request reaches it, because a catch-all route precedes it or only a delegate can use it. */
  readonly isUncertain: boolean;
}

/**
 * The destinations that receive requests. A single destination receives all requests; of several, those without a weight
 * receive none (Istio pilot/pkg/networking/core/route/route.go applyHTTPRouteDestination, networkfilter.go for tcp and
 * tls). A mirror without a percentage receives a copy of each request (route.go MirrorPercent, MirrorPercentByPolicy).
 * Routes with a redirect or a direct response send no requests.
 */
export function trafficOf({ spec }: VirtualService): readonly Traffic[] {
  const found: Traffic[] = [];
  const catchAll = spec.http.findIndex(({ match, delegate }) => match.length === 0 && !delegate);
  for (let i = 0; i < spec.http.length; i++) {
    const route = spec.http[i] as HttpRoute;
    if (route.redirect !== undefined || route.directResponse !== undefined) continue;
    const isUncertain = catchAll >= 0 && i > catchAll;
    addWeighted(found, { protocol: "http", i, route, isUncertain });
    if (route.mirror !== undefined || route.mirrors.length > 0)
      addMirrors(found, { protocol: "http", i, route, isUncertain: isUncertain || route.delegate !== undefined });
  }
  for (let i = 0; i < spec.tcp.length; i++)
    addWeighted(found, { protocol: "tcp", i, route: spec.tcp[i] as StreamRoute, isUncertain: false });
  for (let i = 0; i < spec.tls.length; i++)
    addWeighted(found, { protocol: "tls", i, route: spec.tls[i] as StreamRoute, isUncertain: false });
  return found;
}

/** Every destination and mirror with a subset, even if it receives no requests, which is cheaper to compute. */
export function subsetDestinationsOf({
  spec,
}: Pick<VirtualService, "spec">): readonly WeightedDestination["destination"][] {
  const found: WeightedDestination["destination"][] = [];
  const add = ({ route }: { readonly route: readonly WeightedDestination[] }) => {
    for (const { destination } of route) if (destination.subset) found.push(destination);
  };
  spec.http.forEach(add);
  spec.tcp.forEach(add);
  spec.tls.forEach(add);
  for (const { mirror, mirrors } of spec.http) {
    if (mirror?.subset) found.push(mirror);
    for (const { destination } of mirrors) if (destination.subset) found.push(destination);
  }
  return found;
}

interface Placed<R extends Traffic["route"] = Traffic["route"]> extends Omit<Traffic, "at" | "destination"> {
  readonly route: R;
  /** The position of the route. */
  readonly i: number;
}

function addWeighted(found: Traffic[], { protocol, i, route, isUncertain }: Placed): void {
  const destinations = route.route;
  for (let j = 0; j < destinations.length; j++) {
    const { destination, weight } = destinations[j] as WeightedDestination;
    if (destinations.length > 1 && (weight ?? 0) <= 0) continue;
    found.push({ at: ["spec", protocol, i, "route", j, "destination"], protocol, route, isUncertain, destination });
  }
}

function addMirrors(found: Traffic[], { i, ...of }: Placed<HttpRoute>): void {
  for (const { at, destination } of mirrorsOf(of.route))
    found.push({ ...of, at: ["spec", "http", i, ...at], destination });
}

/** A copy of requests to another destination. */
export interface Mirror {
  /** The path of the destination in the route. */
  readonly at: Path;
  readonly destination: WeightedDestination["destination"];
  /** The share of the requests that are copied, in per cent, above 0. */
  readonly percent: number;
}

/** Where a route mirrors requests to. Without a percentage, each is copied (route.go MirrorPercent, MirrorPercentByPolicy). */
export function mirrorsOf(route: HttpRoute): readonly Mirror[] {
  const { mirror, mirrors } = route;
  const found: Mirror[] = [];
  if (mirror !== undefined) found.push({ at: ["mirror"], destination: mirror, percent: mirroredPercent(route) });
  for (const [j, { destination, percentage }] of mirrors.entries())
    found.push({
      at: ["mirrors", j, "destination"],
      destination,
      percent: percentage === undefined ? 100 : (percentage.value ?? 0),
    });
  return found.filter(({ percent }) => percent > 0);
}

const mirroredPercent = ({
  mirrorPercent,
  mirrorPercentage,
}: Pick<HttpRoute, "mirrorPercent" | "mirrorPercentage">): number =>
  mirrorPercentage === undefined ? (mirrorPercent ?? 100) : (mirrorPercentage.value ?? 0);
