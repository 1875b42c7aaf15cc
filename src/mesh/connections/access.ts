import { idOf } from "../../kube/identity.ts";
import { type Box, type Clause, everyRequest } from "../authorization/requests/boxes.ts";
import { both, keyOfSet, noRequests, type RequestSet, union, without } from "../authorization/requests/sets.ts";
import { Work } from "../authorization/requests/work.ts";
import type { Sender } from "../membership/clients.ts";
import {
  type Outcome,
  reasonOfWay,
  type RouteDestination,
  type RouteOutcome,
  type Source,
} from "../requests/outcome.ts";
import { formatDecision, formatTransport } from "../requests/wording.ts";
import type { SharedLists } from "./callers.ts";

/**
 * How requests arrive.
 * - `mtls`, `plaintext`: they are accepted, over connections of this kind; with a waypoint, all connections of the way.
 * - `tls`: they leave the mesh over TLS without its certificates.
 * - `passed`: they leave the mesh as the application sends them, encrypted or not.
 * - `undecided`: that they are accepted, or how, is not known.
 */
export type Status = "mtls" | "tls" | "plaintext" | "passed" | "undecided";
export const statuses: readonly Status[] = ["mtls", "tls", "plaintext", "passed", "undecided"];

/** How callers send. Callers with the same identity can send in several ways, which policies cannot tell apart. */
export interface Way {
  readonly key: string;
  readonly sender: Sender;
  /** The workloads that send in this way, such as `Deployment web/shop`; sorted. Empty: none are known. */
  readonly workloads: readonly string[];
}

/** Requests with the same destinations and shares. */
export interface Routed {
  readonly key: string;
  readonly requests: RequestSet;
  readonly destinations: readonly RouteDestination[];
  /** The routes that say so. */
  readonly by: readonly RouteOutcome[];
}

/** Requests, with the identities of their callers, by how they arrive. */
export interface Accepted {
  /** Undefined: it does not matter in which way callers send. */
  readonly way: Way | undefined;
  /** The callers that send in this way. */
  readonly callers: RequestSet;
  readonly sets: Readonly<Record<Status, RequestSet>>;
  /** Those that some destination or some pod accepts and another one does not. */
  readonly partly: RequestSet;
  readonly routes: readonly Routed[];
}

interface Part {
  readonly way: Way;
  readonly callers: Box;
  readonly requests: Box;
  /** Undefined: they are not accepted. */
  readonly status: Status | undefined;
  readonly because: string | undefined;
  readonly outcome: Outcome;
}

/** Who can send what to one port. */
export class Access {
  readonly lists: SharedLists;
  readonly #parts: readonly Part[];
  #ofWays: readonly Accepted[] | undefined;

  constructor(outcomes: Iterable<Outcome>, lists: SharedLists) {
    this.lists = lists;
    const ways = new Map<string, Way>();
    this.#parts = [...outcomes].flatMap((outcome) => {
      const found = wayOf(outcome.source);
      const way = ways.get(found.key) ?? found;
      ways.set(way.key, way);
      return partOf(outcome, way, lists) ?? [];
    });
  }

  /** Ports with the same key accept the same. */
  get key(): string {
    return JSON.stringify(this.#parts.map(keyOfPart).sort());
  }

  /**
   * What decides which changes there are between two of them: everything of `key` but the names of the server. Ports with the same
   * before and after a change have the same changes, unless routes change. `host`: of the port; undefined: it has none.
   */
  shape(host: string | undefined): string {
    const ways = [...Map.groupBy(this.#parts, ({ way }) => way.key)].map(([key, parts]) => [key, isDivided(parts)]);
    return JSON.stringify([ways.map(String).sort(), this.#parts.map((part) => shapeOfPart(part, host)).sort()]);
  }

  /** Why requests are not accepted; sorted. */
  get refusals(): readonly string[] {
    return reasonsOf(this.#parts.filter(({ status }) => status === undefined));
  }

  /** Why requests are undecided; sorted. */
  get doubts(): readonly string[] {
    return reasonsOf(this.#parts.filter(({ status }) => status === "undecided"));
  }

  /** What is accepted in each way. Throws Undecided if that takes too much work to know. */
  byWay(work: Work): readonly Accepted[] {
    this.#ofWays ??= [...Map.groupBy(this.#parts, ({ way }) => way)].map(([way, parts]) =>
      acceptedOf(way, parts, work),
    );
    return this.#ofWays;
  }

  /** What is accepted, if that does not depend on the way; undefined: it does. */
  whole(work: Work): Accepted | undefined {
    const ways = this.byWay(work);
    const isSame = ways.every((one) => {
      const others = ways.filter((other) => other !== one && both(one.callers, other.callers, work).length > 0);
      return others.length === 0 || isAsIn(together(others), one, work);
    });
    return isSame ? together(ways) : undefined;
  }
}

const keyOfPart = ({
  way,
  callers,
  requests,
  status,
  because,
  outcome: { route, destination, workloads, hops },
}: Part): string =>
  JSON.stringify([
    ...[way.key, keyOfSet([callers]), keyOfSet([requests]), status, because, keyOfRoute(route)],
    ...hops.map((hop) => [hop.proxy, keyOfRoute(hop.route), hop.destination?.host]),
    ...[route.virtualService && idOf(route.virtualService), destination?.host, workloads.map(idOf)],
  ]);

const shapeOfPart = (
  { way, callers, requests, status, outcome: { route, hops } }: Part,
  own: string | undefined,
): string =>
  JSON.stringify([
    ...[way.key, keyOfSet([callers]), keyOfSet([requests]), status, route.result],
    ...hops.map((hop) => keyOfRoute(hop.route)),
    ...route.destinations.map((one) => [
      ...[one.host === own ? "" : one.host, one.port, one.subset, one.share, leadsNowhere(one)],
    ]),
  ]);

const reasonsOf = (parts: readonly Part[]): readonly string[] =>
  [...new Set(parts.flatMap(({ because }) => because ?? []))].sort();

function wayOf({ sender, workloads: all }: Source): Way {
  const workloads = all.map(idOf).sort();
  return { key: [sender, ...workloads].join("\n"), sender, workloads };
}

/** Undefined: no caller of this mesh is meant. */
function partOf(outcome: Outcome, way: Way, lists: SharedLists): Part | undefined {
  const callers = boxOf(lists, outcome.source.identity);
  if (callers === undefined) return undefined;
  const requests = boxOf(lists, [...callers.clauses, ...outcome.requests.clauses]);
  if (requests === undefined) return undefined;
  return { way, callers, requests, status: statusOf(outcome), because: becauseOf(outcome), outcome };
}

function boxOf(lists: SharedLists, all: readonly Clause[]): Box | undefined {
  const clauses = lists.clauses(all);
  return clauses && everyRequest.withAll(clauses, new Work(100_000, lists.memory));
}

function statusOf({ result, transport }: Outcome): Status | undefined {
  if (result === "undecided") return "undecided";
  if (result !== "accepted") return undefined;
  const hops = new Set(transport.map((hop) => hop.result));
  if (hops.has("undecided")) return "undecided";
  if (hops.has("plaintext") || hops.size === 0) return "plaintext";
  return hops.has("passed") ? "passed" : hops.has("tls") ? "tls" : "mtls";
}

/** Why requests are undecided or not accepted. */
function becauseOf(outcome: Outcome): string | undefined {
  const { result, transport, authorization } = outcome;
  if (result === "accepted") return undefined;
  const [connection, decision] = [transport.at(-1), authorization.at(-1)];
  if (result === "refused" && connection !== undefined) return formatTransport(connection);
  if (result === "denied" && decision !== undefined) return `denied ${formatDecision(decision)}`;
  const open = [...transport, ...authorization].find(
    (step) => step.result === "undecided" && step.because !== undefined,
  );
  return reasonOfWay(outcome) ?? open?.because;
}

function acceptedOf(way: Way, parts: readonly Part[], work: Work): Accepted {
  const of = (status: Status | undefined) =>
    parts.filter((part) => part.status === status).map(({ requests }) => requests);
  const sets = setsOf(of);
  const taken = taking.reduce((all: RequestSet, status) => union(all, sets[status]), noRequests);
  return {
    way,
    callers: [...new Set(parts.map(({ callers }) => callers))],
    sets,
    partly: isDivided(parts) ? both(taken, of(undefined), work) : noRequests,
    routes: routedIn(parts),
  };
}

/** Whether there are several destinations, or groups of pods, of which one can accept what another one refuses. */
const isDivided = (parts: readonly Part[]): boolean =>
  new Set(parts.map(({ outcome }) => `${outcome.destination?.host} ${outcome.workloads.map(idOf).join()}`)).size > 1;

/** In which requests are accepted for certain. */
const taking = statuses.filter((status) => status !== "undecided");
export const setsOf = <T>(of: (status: Status) => T): Readonly<Record<Status, T>> => ({
  mtls: of("mtls"),
  tls: of("tls"),
  plaintext: of("plaintext"),
  passed: of("passed"),
  undecided: of("undecided"),
});

/** Accepted requests by where they are routed to. */
function routedIn(parts: readonly Part[]): readonly Routed[] {
  const groups = Map.groupBy(
    parts.filter(({ status, outcome }) => status !== undefined && outcome.route.result === "arrives"),
    ({ outcome }) => keyOfRoute(outcome.route),
  );
  return [...groups].map(([key, members]) => ({
    key,
    requests: members.map(({ requests }) => requests),
    destinations: members[0]?.outcome.route.destinations ?? [],
    by: [...new Set(members.map(({ outcome }) => outcome.route))],
  }));
}

/** Where a route leads to, and whether anything is there, whatever it is called. */
const keyOfRoute = ({ destinations }: RouteOutcome): string =>
  destinations
    .map((one) => JSON.stringify([one.host, one.port, one.subset ?? "", one.share, leadsNowhere(one)]))
    .sort()
    .join();

/** Whether requests reach nothing at this destination. */
export const leadsNowhere = ({ because }: RouteDestination): boolean => because !== undefined;

/** Everything that is accepted in some way. */
function together(ways: readonly Accepted[]): Accepted {
  const of = (status: Status) => ways.flatMap(({ sets }) => sets[status]);
  return {
    way: undefined,
    callers: ways.flatMap(({ callers }) => callers),
    sets: setsOf(of),
    partly: ways.flatMap(({ partly }) => partly),
    routes: sameRoutes(ways.flatMap(({ routes }) => routes)),
  };
}

const sameRoutes = (all: readonly Routed[]): readonly Routed[] =>
  [...Map.groupBy(all, ({ key }) => key)].map(([key, some]) => ({
    key,
    requests: some.flatMap(({ requests }) => requests),
    destinations: some[0]?.destinations ?? [],
    by: some.flatMap(({ by }) => by),
  }));

/** Whether a way accepts everything that its callers can send in other ways. */
function isAsIn(others: Accepted, one: Accepted, work: Work): boolean {
  const isIn = (some: RequestSet, own: RequestSet): boolean =>
    without(both(some, one.callers, work), own, work).length === 0;
  return (
    statuses.every((status) => isIn(others.sets[status], one.sets[status])) &&
    others.routes.every(({ key, requests }) =>
      isIn(requests, one.routes.find((route) => route.key === key)?.requests ?? []),
    )
  );
}
