import type { Attribute } from "../authorization/requests/attributes.ts";
import { type Box, type Clause, opposite } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { absent } from "../authorization/requests/values.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import type { Enforcement } from "./decisions.ts";
import type { Guard } from "./enforcement.ts";
import type { Stage } from "./gateway-stage.ts";
import { clusterName } from "./gateway-tls.ts";
import type {
  AuthorizationOutcome,
  Result,
  RouteDestination,
  RouteOutcome,
  Source,
  TransportOutcome,
} from "./outcome.ts";
import type { GatewayProxy } from "./question.ts";
import type { GatewayRoutes } from "./table-entries.ts";
import { pastGuard, type ServerView } from "./server-view.ts";
import { refusedTokens } from "./token-use.ts";
import { portIs, sniIs, type Way } from "./way.ts";

// What a step of the way makes of it.

export const noIdentity: Clauses[number] = { attribute: "identity", values: absent, not: false };

/** Where a proxy sends requests: the first one of the way, or a gateway within it. */
export function routedBy(
  { hops }: Way,
  route: RouteOutcome,
  destination: RouteDestination | undefined,
  at: GatewayProxy | undefined,
): Partial<Pick<Way, "route" | "destination" | "hops">> {
  return at === undefined ? { route, destination } : { hops: [...hops, { proxy: at.name, route, destination }] };
}

/** A gateway or a waypoint. */
interface Between {
  readonly guard: Guard;
  /** As the client of what follows. */
  readonly client: Source;
}

/** What follows a gateway or a waypoint sees it as its client, and neither the identity nor the address of the caller. */
export const seenPast = ({ view }: Way, { guard, client }: Between): ServerView =>
  pastGuard(view, guard).with(client.identity, ["source.ip", "remote.ip", "destination.ip"]);

/**
 * What all requests have at a waypoint: the port that they are sent to, which is that of the Service, and no TLS around HTTP (Istio
 * pilot/pkg/networking/core/listener_waypoint.go buildWaypointInternal).
 */
export const atWaypoint = (port: number, protocol: "http" | "tcp"): Clauses =>
  protocol === "http" ? [portIs(port), sniIs("")] : [portIs(port)];

/** The routes of a gateway ask for something that a proxy before it may have changed. */
export const unclearRoute = (route: RouteOutcome): RouteOutcome => ({
  ...route,
  result: "undecided",
  destinations: [],
  because:
    "the routes there ask for a path, a header or an address that a proxy before it changes in a way that is not known",
});

/** How a gateway sends requests on. */
export const sentOn = (way: Way, between: Between, { stream }: GatewayRoutes): Pick<Way, "view" | "sentAs"> => ({
  view: seenPast(way, between),
  sentAs: stream === undefined ? "http" : "tcp",
});

/** A connection as a gateway within the way has it. */
interface AtHop {
  readonly port: number;
  readonly sni: string;
  /** Whether the client has shown its certificate of the mesh. */
  readonly isMtls: boolean;
  /** What is not known of the client without it. */
  readonly doubt: readonly Attribute[];
}

/** What a gateway within the way sees. */
export function atHop(view: ServerView, { port, sni, isMtls, doubt }: AtHop): ServerView {
  const fixed = [portIs(port), sniIs(sni)];
  if (isMtls) return view.with(fixed);
  return doubt.length > 0 ? view.with(fixed, doubt) : view.with([...fixed, noIdentity]);
}

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

/** So many gateways are followed. */
export const mostGateways = 4;
export const tooManyGateways = `the requests pass more than ${mostGateways} gateways, and perhaps never arrive`;
export const otherHosts =
  "its pods are gateways, which tell requests apart by the host that they name, and proxies of clients do so, too; ask for the host itself, or name it in the conditions";
export const unknownHost =
  "its pods are gateways, which tell requests apart by the host that they name, and it is not known";

/** A gateway of which it is not known what it does with the requests. */
export const unknownStage = (because: string): Extract<Stage, { readonly kind: "ended" }> => ({
  kind: "ended",
  result: "undecided",
  gateway: undefined,
  because,
});

/** With what explains that no rule matches. */
export function explained(outcome: AuthorizationOutcome, note: string | undefined): AuthorizationOutcome {
  const { at, place, result, by, policies, because } = outcome;
  if (note === undefined || result !== "denied" || by !== undefined) return outcome;
  // Which rules come close is found out only if somebody asks.
  return {
    ...{ at, place, result, by, policies, because, note },
    get close() {
      return outcome.close;
    },
  };
}

/** The decision depends on something that what lies between may have changed. */
export const uncertain = (outcome: AuthorizationOutcome): AuthorizationOutcome => ({
  at: outcome.at,
  place: outcome.place,
  by: outcome.by,
  policies: outcome.policies,
  close: [],
  result: "undecided",
  because:
    "the policies ask for something that is not known there: a path that a route rewrote, or an address behind a waypoint",
});

/** Divides requests by whether a guard refuses the tokens that the question names, before it asks its policies. */
export function withoutTokensRefused(
  { box, view, tokens }: Way,
  { enforcement, tokens: use }: Guard,
  work: Work,
): { readonly refused: Box | undefined; readonly accepted: Box | undefined } {
  const isSent = enforcement?.applied.place === "http" && !view.isWithoutToken && !view.isOpen("token");
  const values = isSent ? refusedTokens(tokens, use) : undefined;
  if (values === undefined) return { refused: undefined, accepted: box };
  const refused: Clause = { attribute: "token", values, not: false };
  return { refused: box.with(refused, work), accepted: box.with(opposite(refused), work) };
}

export const tokenRefused = ({ at, applied }: Enforcement, { example }: Box): AuthorizationOutcome => {
  const token = example.get("token");
  const issuer = typeof token === "object" ? (token[0] ?? "") : "";
  return {
    at,
    place: applied.place,
    result: "denied",
    by: undefined,
    policies: [],
    close: [],
    because: `no RequestAuthentication at the ${at} accepts tokens of issuer ${issuer}`,
  };
};

export const unclearAt = (enforcement: Guard["enforcement"], because: string): AuthorizationOutcome => ({
  at: enforcement?.at ?? "sidecar",
  place: enforcement?.applied.place ?? "http",
  result: "undecided",
  by: undefined,
  policies: [],
  close: [],
  because,
});

/** A denial is certain, whatever is not known about the way there. */
export function resultAt({ transport, authorization }: Way): Result {
  if (authorization.at(-1)?.result === "denied") return "denied";
  return [...transport, ...authorization].some(({ result }) => result === "undecided") ? "undecided" : "accepted";
}

export const toWaypoint: TransportOutcome = {
  to: "waypoint",
  result: "mtls",
  tls: "auto",
  mode: undefined,
  rule: undefined,
  waypoint: undefined,
  because: undefined,
};
