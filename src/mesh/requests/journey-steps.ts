import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import type { Guard } from "./enforcement.ts";
import { clusterName } from "./gateway-tls.ts";
import type { Hop, Result, RouteDestination, RouteOutcome, Source } from "./outcome.ts";
import { pastGuard, type ServerView } from "./server-view.ts";
import type { Way } from "./way.ts";

// What a step of the way makes of it.

/** A proxy within the way. */
export type PlaceOfHop = Omit<Hop, "route" | "destination">;

/** Where a proxy sends requests: the first one of the way, or one within it. */
export function routedBy(
  { hops }: Way,
  route: RouteOutcome,
  destination: RouteDestination | undefined,
  at: PlaceOfHop | undefined,
): Partial<Pick<Way, "route" | "destination" | "hops">> {
  return at === undefined ? { route, destination } : { hops: [...hops, { ...at, route, destination }] };
}

/** A gateway or a waypoint. */
export interface Between {
  readonly guard: Guard;
  /** As the client of what follows. */
  readonly client: Source;
}

/** What follows a gateway or a waypoint sees it as its client, and neither the identity nor the address of the caller. */
export const seenPast = ({ view }: Way, { guard, client }: Between): ServerView =>
  pastGuard(view, guard).with(client.identity, ["source.ip", "remote.ip", "destination.ip"]);

/** The routes of a gateway ask for something that a proxy before it may have changed. */
export const unclearRoute = (route: RouteOutcome): RouteOutcome => ({
  ...route,
  result: "undecided",
  destinations: [],
  because:
    "the routes there ask for a path, a header or an address that a proxy before it changes in a way that is not known",
});

/**
 * The name that TLS asks for at a pod. A proxy that uses mTLS asks for that of its cluster, whatever the application does; in plaintext
 * there is none. Undefined: it is that of the application, or it is not known.
 */
export function nameInTls(way: Way, { sender }: Source, { sni }: ClientTlsChoice): string | undefined {
  const { transport, payload } = way;
  const result = transport.at(-1)?.result;
  if (result === "plaintext") return payload === "tls" ? undefined : "";
  if (result !== "mtls" || sender !== "proxy" || transport.some(({ to }) => to === "waypoint")) return undefined;
  return sni ?? nameOfCluster(way);
}

function nameOfCluster({ destination, hops }: Way): string | undefined {
  const reached = hops.at(-1)?.destination ?? destination;
  return reached && clusterName(reached);
}

/** Whether the last place that decided denies the requests. */
export const isDenied = ({ authorization }: Way): boolean => authorization.at(-1)?.result === "denied";

/** A denial is certain, whatever is not known about the way there. */
export function resultAt(way: Way): Result {
  const { transport, authorization } = way;
  if (isDenied(way)) return "denied";
  return [...transport, ...authorization].some(({ result }) => result === "undecided") ? "undecided" : "accepted";
}
