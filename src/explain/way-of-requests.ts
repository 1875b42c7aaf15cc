import { idOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { formatRule } from "../mesh/authorization/gain-wording.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import type {
  AuthorizationOutcome,
  Hop,
  Outcome,
  RouteDestination,
  RouteOutcome,
  TransportOutcome,
} from "../mesh/requests/outcome.ts";
import { formatDecision, formatTransport } from "../mesh/requests/wording.ts";
import { formatWaypoint } from "../mesh/waypoints/bindings.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import { listed, listedNames } from "./wording.ts";

/** The way of requests, line by line. */
export function wayOf({
  route,
  transport,
  authorization,
  workloads,
  hops,
  ...outcome
}: Outcome): readonly ExplanationLine[] {
  const decisions = [...authorization];
  const connections = transport.filter(({ to }) => to !== "waypoint");
  const before = linesBefore(route.gateway, waypointBefore(transport, hops), decisions);
  const within = hops.flatMap((hop) => hopLines(hop, connections, decisions));
  const reached = hops.at(-1)?.destination ?? outcome.destination;
  return [
    ...before,
    ...(isUnrouted(route) ? [] : [routeLine(route, outcome.destination)]),
    ...within,
    ...connections.map(transportLine),
    ...decisions.map(authorizationLine),
    ...(workloads.length === 0 ? [] : [workloadsLine(workloads, reached)]),
  ];
}

/** The waypoint that callers send requests to; undefined: they send them to nothing like it, or gateways do. */
const waypointBefore = (transport: readonly TransportOutcome[], hops: readonly Hop[]): TransportOutcome | undefined =>
  hops[0]?.waypoint === undefined && transport[0]?.to === "waypoint" ? transport[0] : undefined;

/** The gateway by which requests come in, and the waypoint before the route; takes their decisions from the list. */
function linesBefore(
  gateway: RouteOutcome["gateway"],
  atWaypoint: TransportOutcome | undefined,
  decisions: AuthorizationOutcome[],
): readonly ExplanationLine[] {
  const isDecidedThere = gateway !== undefined && decisions[0]?.at === "gateway";
  const lines = gateway === undefined ? [] : [gatewayLine(gateway, isDecidedThere ? decisions.shift() : undefined)];
  if (atWaypoint === undefined) return lines;
  const decision = decisions.shift();
  return [...lines, waypointLine(atWaypoint.waypoint, decision === undefined ? [] : [authorizationLine(decision)])];
}

/** A gateway or a waypoint within the way, with the connection to it and its decision, which are the next ones; takes these from the lists. */
function hopLines(
  hop: Hop,
  connections: TransportOutcome[],
  decisions: AuthorizationOutcome[],
): readonly ExplanationLine[] {
  const { waypoint, route, destination } = hop;
  const place = waypoint === undefined ? "gateway" : "waypoint";
  const decided = decisions[0]?.at === place ? decisions.splice(0, 1) : [];
  const routed = isUnrouted(route) ? [] : [routeLine(route, destination)];
  const lines = [...decided.map(authorizationLine), ...routed];
  if (waypoint !== undefined) return [waypointLine(waypoint, lines)];
  const connection = connections[0]?.to === "gateway" ? connections.splice(0, 1) : [];
  return [...connection.map(transportLine), gatewayWithinLine(hop, lines)];
}

function gatewayWithinLine({ proxy, route: { gateway } }: Hop, lines: readonly ExplanationLine[]): ExplanationLine {
  const by = gateway === undefined ? "" : `, by ${idOf(gateway)}`;
  const objects = gateway === undefined ? [] : [gateway];
  return { key: "gateway", text: `Through ${proxy}${by}`, value: proxy, objects, lines };
}

function waypointLine(waypoint: TransportOutcome["waypoint"], lines: readonly ExplanationLine[]): ExplanationLine {
  const name = waypoint === undefined ? "" : formatWaypoint(waypoint.named);
  return {
    key: "waypoint",
    text: `Through waypoint ${name}, over HBONE${shareOf(waypoint)}`,
    value: name,
    objects: waypoint?.gateway === undefined ? [] : [waypoint.gateway],
    lines,
  };
}

/** The share of one of two waypoints. */
const shareOf = (waypoint: TransportOutcome["waypoint"]): string =>
  waypoint?.share === undefined || waypoint.share === 1
    ? ""
    : `, with ${Math.round(waypoint.share * 100)} % of the connections`;

/** What is for an address, or denied before, has no route. */
const isUnrouted = ({ host, because }: RouteOutcome): boolean => host === undefined && because === undefined;

function gatewayLine(gateway: AnyObject, decision: AuthorizationOutcome | undefined): ExplanationLine {
  return {
    key: "gateway",
    text: `Comes in by ${idOf(gateway)}`,
    value: idOf(gateway),
    objects: [gateway],
    lines: decision === undefined ? [] : [authorizationLine(decision)],
  };
}

function routeLine(route: RouteOutcome, destination: Outcome["destination"]): ExplanationLine {
  const { virtualService, httpRoute, result, because, destinations } = route;
  const object = virtualService ?? httpRoute;
  const lines = destinations.map((one) => destinationLine(one, destination === undefined || one === destination));
  const isPlain = object === undefined && lines.every((line) => line.counts && line.lines?.length === 0);
  const reason = because === undefined || (lines.length > 0 && !isPlain) ? "" : `: ${because}`;
  return {
    key: "route",
    text: `${routeInWords(route)}${reason}`,
    value: result,
    objects: object === undefined ? [] : [object],
    lines: isPlain ? [] : lines,
  };
}

function routeInWords(route: RouteOutcome): string {
  const { takenBy } = route;
  const taken =
    takenBy === undefined ? "" : `, as ${idOf(takenBy)} lists no addresses, and takes all connections to the port`;
  return `Route: ${placeInWords(route)}${taken}`;
}

function placeInWords({ virtualService, httpRoute, route, ...rest }: RouteOutcome): string {
  if (httpRoute !== undefined)
    return `${idOf(httpRoute)}${route === undefined || route.name === "" ? "" : ` ${route.name}`}`;
  if (virtualService === undefined) return withoutRoute(rest);
  if (route === undefined) return idOf(virtualService);
  const { protocol, index, name } = route;
  return `${idOf(virtualService)} ${protocol}[${index}]${name === "" ? "" : ` ${name}`}`;
}

function withoutRoute({
  result,
  host,
  gateway,
  destinations,
  takenBy,
}: Omit<RouteOutcome, "virtualService" | "httpRoute" | "route">): string {
  if (gateway !== undefined || (result !== "arrives" && host === undefined)) return "none";
  const [only] = destinations;
  if (takenBy !== undefined) return `to host ${only?.host ?? host}`;
  return only === undefined || only.object?.kind === "Service" ? "to the Service itself" : "to the host itself";
}

function destinationLine(one: RouteDestination, counts: boolean): ExplanationLine {
  const { host, port, subset, share, headers, because, rules } = one;
  const of = `${host}:${port}${subset === undefined ? "" : ` subset ${subset}`}`;
  const reason = because === undefined ? "" : `: ${because}`;
  return {
    key: "route.destination",
    of,
    text: `${shareInWords(share)} to ${of}${headersInWords(headers)}${reason}`,
    value: share,
    counts,
    lines: rules.map((rule): ExplanationLine => {
      const labels = rule.spec.subsets.find(({ name }) => name === subset)?.labels;
      const shown = labels === undefined ? "" : ` (subset ${subset}: ${formatLabels(labels) || "any labels"})`;
      return { key: "destinationRule", of: idOf(rule), text: `${idOf(rule)}${shown}`, objects: [rule] };
    }),
  };
}

function headersInWords(changes: RouteDestination["headers"]): string {
  const { authority, headers } = changes ?? { authority: undefined, headers: new Map() };
  const host = authority === undefined ? [] : [`host ${JSON.stringify(authority)}`];
  const values = [...headers].map(([name, value]) => {
    if (value === "absent") return `no header ${name}`;
    return value === "unknown" ? `another value of header ${name}` : `header ${name} ${JSON.stringify(value.is)}`;
  });
  const all = [...host, ...values];
  return all.length === 0 ? "" : `, with ${listedNames(all)}`;
}

export const shareInWords = (share: number): string => `${Math.round(share * 1000) / 10}%`;

const transportLine = (transport: TransportOutcome): ExplanationLine => ({
  key: "tls",
  text: `TLS: ${transport.result === "refused" ? "refused: " : ""}${formatTransport(transport)}${modeInWords(transport)}`,
  value: transport.result,
  objects: [transport.rule, transport.mode?.by].filter((one) => one !== undefined),
});

/** What the server asks for, where the connection itself does not say it. */
function modeInWords({ to, result, mode }: TransportOutcome): string {
  if (result === "refused" || result === "undecided" || to === "outside" || to === "gateway") return "";
  if (mode === undefined) return "; the server has no proxy at this port";
  return `; the server is ${mode.mode}${mode.by === undefined ? " by default" : `, by ${idOf(mode.by)}`}`;
}

function authorizationLine(decision: AuthorizationOutcome): ExplanationLine {
  const { at, result, by, close, policies } = decision;
  const place = at === "ztunnel" ? "Authorization by ztunnel" : `Authorization at the ${at}`;
  return {
    key: "authorization",
    of: at,
    text: `${place}: ${result}, ${formatDecision(decision)}`,
    value: result,
    objects: [...(by === undefined ? [] : [by.policy]), ...policies],
    lines: close.map((ruled) => ({
      key: "authorization.close",
      of: formatRule(ruled),
      text: `${formatRule(ruled)} comes close: it allows other callers or other requests`,
      counts: false,
      objects: [ruled.policy],
    })),
  };
}

const workloadsLine = (workloads: Outcome["workloads"], destination: Outcome["destination"]): ExplanationLine => ({
  key: "workloads",
  text: `Workloads: ${listed(workloads)}${destination !== undefined && workloads.length < destination.workloads.length ? ` (of ${destination.workloads.length})` : ""}`,
  objects: workloads,
});
