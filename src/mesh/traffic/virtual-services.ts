import type { ObjectOf } from "../../kube/object.ts";
import type { Path } from "../../kube/read.ts";

export type VirtualService = ObjectOf<"VirtualService">;
export type HttpRoute = VirtualService["spec"]["http"][number];
export type StreamRoute = VirtualService["spec"]["tcp"][number] | VirtualService["spec"]["tls"][number];
export type WeightedDestination = HttpRoute["route"][number];
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
export function shareOf({ weight }: WeightedDestination, { destinations }: Route): number {
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
export function* trafficOf(virtualService: VirtualService): Iterable<Traffic> {
  const catchAll = virtualService.spec.http.findIndex(({ match, delegate }) => match.length === 0 && !delegate);
  for (const [i, route] of virtualService.spec.http.entries()) {
    if (route.redirect !== undefined || route.directResponse !== undefined) continue;
    const isUncertain = catchAll >= 0 && i > catchAll;
    const at: Path = ["spec", "http", i];
    yield* weightedTraffic({ at: [...at, "route"], protocol: "http", route, isUncertain });
    for (const mirror of mirrorsOf(route, at))
      yield { ...mirror, protocol: "http", route, isUncertain: isUncertain || route.delegate !== undefined };
  }
  for (const protocol of ["tcp", "tls"] as const)
    for (const [i, route] of virtualService.spec[protocol].entries())
      yield* weightedTraffic({ at: ["spec", protocol, i, "route"], protocol, route, isUncertain: false });
}

/** Every destination and mirror with a subset, even if it receives no requests, which is cheaper to compute. */
export function subsetDestinationsOf({ spec }: VirtualService): readonly WeightedDestination["destination"][] {
  const found: WeightedDestination["destination"][] = [];
  const add = ({ route }: Pick<HttpRoute, "route">) => {
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

function* weightedTraffic({ at, protocol, route, isUncertain }: Omit<Traffic, "destination">): Iterable<Traffic> {
  const destinations = route.route;
  for (let i = 0; i < destinations.length; i++) {
    const { destination, weight } = destinations[i] as WeightedDestination;
    if (destinations.length === 1 || (weight ?? 0) > 0)
      yield { at: [...at, i, "destination"], protocol, route, isUncertain, destination };
  }
}

function* mirrorsOf(route: HttpRoute, at: Path): Iterable<Pick<Traffic, "at" | "destination">> {
  const { mirror, mirrors, mirrorPercent, mirrorPercentage } = route;
  const percent = mirrorPercentage === undefined ? (mirrorPercent ?? 100) : (mirrorPercentage.value ?? 0);
  if (mirror !== undefined && percent > 0) yield { at: [...at, "mirror"], destination: mirror };
  for (const [i, { destination, percentage }] of mirrors.entries())
    if (percentage === undefined || (percentage.value ?? 0) > 0)
      yield { at: [...at, "mirrors", i, "destination"], destination };
}
