import { type ServingWaypoints, usedWaypoints } from "./served-traffic.ts";

/** Which waypoints serve the contents of a namespace, before or after a change. */
interface Side {
  readonly namespace: string;
  readonly waypoints: ServingWaypoints;
}

/**
 * The names of the waypoints of the namespace itself through which a Service is reached on both sides of a change, so that policies of other
 * waypoints do not count for it (Istio pilot/pkg/model/policyattachment.go ShouldAttachPolicy). Undefined: none is known to be. What
 * becomes of a Service that leaves its waypoint is compared in departures.ts.
 */
export function ownWaypointsOnBoth(service: string, before: Side, after: Side): ReadonlySet<string> | undefined {
  const both = ownWaypoints(service, before).intersection(ownWaypoints(service, after));
  return both.size === 0 ? undefined : both;
}

function ownWaypoints(service: string, { namespace, waypoints }: Side): ReadonlySet<string> {
  const used = usedWaypoints(waypoints.ofNamed("Service", service));
  return new Set(used.flatMap(({ named }) => (named.namespace === namespace ? named.name : [])));
}
