import type { ObjectOf } from "../kube/kinds.ts";
import type { Path } from "../kube/read.ts";

export type VirtualService = ObjectOf<"VirtualService">;
type HttpRoute = VirtualService["spec"]["http"][number];
type StreamRoute = VirtualService["spec"]["tcp"][number] | VirtualService["spec"]["tls"][number];
export type WeightedDestination = HttpRoute["route"][number];
export type Protocol = "http" | "tcp" | "tls";

/** One entry of `spec.http`, `spec.tcp` or `spec.tls`. */
export interface Route {
  /** Of the list of destinations: `["spec", "http", 0, "route"]`. */
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
