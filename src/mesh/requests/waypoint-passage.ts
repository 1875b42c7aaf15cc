import type { Clauses } from "../authorization/requests/matches.ts";
import type { MeshView } from "../../view/view.ts";
import { formatWaypoint, type WaypointBinding } from "../waypoints/bindings.ts";
import type { Backend } from "./arrival.ts";
import { guardAtWaypoint, guardReads } from "./enforcement.ts";
import { decidedBy, type Means } from "./guarded.ts";
import { isDenied, seenPast } from "./journey-steps.ts";
import type { Outcome, Source, TransportOutcome } from "./outcome.ts";
import { outcomeOf, portIs, sniIs, undecided, type Way } from "./way.ts";
import { sourceAtWaypoint, waypointHopReads } from "./waypoint-hops.ts";

/** What `throughWaypoint` reads. */
export const waypointPassageReads = [...guardReads, ...waypointHopReads] as const;
type View = MeshView<(typeof waypointPassageReads)[number]>;

/** What requests to a waypoint are for. */
export interface BehindWaypoint extends Pick<Backend, "object" | "namespace" | "protocol"> {
  readonly port: number;
}

/** Requests that a waypoint lets through. */
export interface PastWaypoint {
  readonly way: Way;
  /** The waypoint, as what sends them on. */
  readonly client: Source;
}

/** What a waypoint denies, and what it lets through. `source`: who sent the requests first. */
export function* throughWaypoint(
  way: Way,
  binding: WaypointBinding,
  { object, namespace, protocol, port }: BehindWaypoint,
  { source, mesh, means }: { readonly source: Source; readonly mesh: View; readonly means: Means },
): Generator<Outcome | PastWaypoint, undefined> {
  const guard = namespace && guardAtWaypoint({ object, namespace }, binding, protocol, mesh);
  const there = { ...way, transport: [...way.transport, { ...toWaypoint, waypoint: binding }] };
  if (guard === undefined) {
    const because = `waypoint ${formatWaypoint(binding.named)} is not known to the mesh`;
    yield { ...undecided(way.box, source, because), transport: there.transport };
    return;
  }
  const client = sourceAtWaypoint(binding, mesh);
  for (const next of decidedBy(guard, there, atWaypoint(port, protocol), means))
    if (isDenied(next)) yield outcomeOf("denied", next, source);
    else yield { way: { ...next, view: seenPast(next, { guard, client }) }, client };
}

/**
 * What all requests have at a waypoint: the port that they are sent to, which is that of the Service, and no TLS around HTTP (Istio
 * pilot/pkg/networking/core/listener_waypoint.go buildWaypointInternal).
 */
const atWaypoint = (port: number, protocol: "http" | "tcp"): Clauses =>
  protocol === "http" ? [portIs(port), sniIs("")] : [portIs(port)];

const toWaypoint: TransportOutcome = {
  to: "waypoint",
  result: "mtls",
  tls: "auto",
  mode: undefined,
  rule: undefined,
  waypoint: undefined,
  because: undefined,
};
