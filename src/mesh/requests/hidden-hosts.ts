import { allowedBy } from "../authorization/requests/allowed.ts";
import { type Applied, type Rules, rulesOf } from "../authorization/requests/applied.ts";
import { type Box, type Clause, everyRequest, type Request } from "../authorization/requests/boxes.ts";
import { inside, outside } from "../authorization/requests/difference.ts";
import type { Clauses, Match } from "../authorization/requests/matches.ts";
import type { Ruled } from "../authorization/requests/policies.ts";
import { hostsOf } from "../authorization/requests/proxy-matches.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { SharedWork, type Work } from "../authorization/requests/work.ts";
import type { HttpRoute, VirtualService } from "../traffic/virtual-services.ts";
import { headerChanges } from "./header-changes.ts";
import { httpCases, type RouteCase } from "./route-conditions.ts";

/** The requests of one route to one destination, which get another host on the way. */
export interface HostChange {
  /** The hosts that clients send. */
  readonly hosts: readonly string[];
  /** The host that the destination sees, in lower case. */
  readonly to: string;
  readonly cases: readonly RouteCase[];
  /** Conditions of the routes that are tried before. */
  readonly earlier: () => readonly Match[];
}

/** A request that a DENY rule denies by the host that the client has sent, and that is let in with another one. */
export interface Escape {
  readonly by: Ruled;
  readonly request: Request;
}

/**
 * The host that a route writes into requests to a destination, in lower case (Istio pilot/pkg/networking/core/route/route.go
 * TranslateRoute, HostRewriteLiteral); undefined: none, or it depends on the request.
 */
export function hostWritten(
  { rewrite, headers }: HttpRoute,
  destination: HttpRoute["route"][number] | undefined,
): string | undefined {
  const written = rewrite?.authority || headerChanges(headers, destination?.headers)?.authority;
  return !written || written.includes("%") ? undefined : written.toLowerCase();
}

/**
 * The routes of one proxy, in their order, for hosts. Undefined: they have conditions on the gateway, the port, the scheme or the labels
 * of clients, so that not every proxy has all of them.
 */
export function changesOfHosts(
  virtualService: VirtualService,
  hosts: readonly string[],
): ((index: number, to: string) => HostChange) | undefined {
  const { metadata, spec } = virtualService;
  if (spec.http.some(({ match }) => match.some(isApart))) return undefined;
  const client = { namespace: metadata.namespace, labels: {}, port: 0, isWaypoint: false };
  const all = spec.http.map((route) => httpCases(route, virtualService, client));
  return (index, to) => ({
    hosts,
    to,
    cases: (all[index] ?? []).filter(({ isClear }) => isClear),
    earlier: () => all.slice(0, index).flat().map(matchOf),
  });
}

const isApart = ({ gateways, port, scheme, sourceLabels, sourceNamespace }: HttpRoute["match"][number]): boolean =>
  gateways.length > 0 || [port, scheme, sourceNamespace].some(Boolean) || Object.keys(sourceLabels).length > 0;

const matchOf = ({ clauses }: RouteCase): Match => ({ sources: [[]], operations: [clauses], conditions: [] });

/** Finds requests that escape DENY rules. The questions about one object share a limit of work. */
export class Escapes {
  readonly #work: SharedWork;

  constructor(visited: (values: number) => void) {
    this.#work = new SharedWork(visited);
  }

  /** `conditions`: what else is true of the requests that count. Undefined: there are none, or that takes too much work. */
  of(applied: Applied, conditions: Clauses, change: HostChange): Escape | undefined {
    const rules = rulesOf(applied);
    const denying = rules.flatMap(({ deny }) => deny.flatMap(byHost));
    if (denying.length === 0) return undefined;
    return this.#work.answer((work) => escapeFrom(denying, rules, { conditions, change }, work));
  }
}

const ofHost = ({ attribute, not }: Clause): boolean => attribute === "host" && !not;

/** Those parts of a rule that name hosts. One that denies all other hosts is meant to let in what a gateway writes. */
function byHost({ match, ...ruled }: Ruled): readonly Ruled[] {
  const operations = match.operations.filter((clauses) => clauses.some(ofHost));
  return operations.length === 0 ? [] : [{ ...ruled, match: { ...match, operations } }];
}

interface Question {
  readonly conditions: Clauses;
  readonly change: HostChange;
}

function escapeFrom(
  denying: readonly Ruled[],
  rules: readonly Rules[],
  { conditions, change }: Question,
  work: Work,
): Escape | undefined {
  const { hosts, to, cases, earlier } = change;
  const isOfAll = hosts.includes("*") || hosts.includes("");
  const sent: Clauses = isOfAll ? [] : [{ attribute: "host", values: hostsOf(hosts), not: false }];
  const written: Clause = { attribute: "host", values: new Texts([[to]]), not: false };
  const isLetIn = (denied: Box): boolean => {
    const seen = denied.without(isHost).with(written, work);
    return seen !== undefined && isAllowed(rules, seen, work);
  };
  for (const { by, box } of deniedAmong(denying, [...conditions, ...sent], cases, work)) {
    // Most requests that a rule denies are still denied with the other host, or never let in.
    if (!isLetIn(box)) continue;
    const before = earlier();
    work.spend(before.length);
    for (const part of outside(box, before, work)) if (isLetIn(part)) return { by, request: part.example };
  }
  return undefined;
}

function* deniedAmong(
  denying: readonly Ruled[],
  conditions: Clauses,
  cases: readonly RouteCase[],
  work: Work,
): Generator<{ readonly by: Ruled; readonly box: Box }, undefined> {
  const base = everyRequest.withAll(conditions, work);
  for (const { clauses } of cases) {
    const sent = base?.withAll(clauses, work);
    work.spend(denying.length);
    if (sent === undefined) continue;
    for (const by of denying) for (const box of inside(sent, by.match, work)) yield { by, box };
  }
}

const isHost = (attribute: string): boolean => attribute === "host";
const isAllowed = (rules: readonly Rules[], box: Box, work: Work): boolean =>
  allowedBy(rules, box, work).next().done !== true;
