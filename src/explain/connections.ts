import { idOf } from "../kube/identity.ts";
import type { RequestSet } from "../mesh/authorization/requests/sets.ts";
import { Undecided, Work } from "../mesh/authorization/requests/work.ts";
import type { Access, Routed } from "../mesh/connections/access.ts";
import { Entries } from "../mesh/connections/entries.ts";
import { PortAccess, SharedDecisions } from "../mesh/connections/port-access.ts";
import { acceptedRows, type RouteRow, routeRows } from "../mesh/connections/rows.ts";
import { portsIn, type Scope } from "../mesh/connections/targets.ts";
import type { ConnectionGroup, ConnectionRoute, Connections } from "../report/connections.ts";
import { counted } from "../text/phrases.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import { titleOfEntries, Titles } from "./connection-titles.ts";
import {
  byCallers,
  callersIn,
  connectionOf,
  grouped,
  includesIngress,
  mostReasons,
  notesOnCallers,
  type OnlyFrom,
  reportedScope,
  shareOf,
  unknownKinds,
  Words,
  workForWords,
} from "./connection-words.ts";
import { listedNames } from "./wording.ts";

/** Who can reach what in the scope. `from`: only this caller; undefined: everybody. */
export function connectionsOf(base: Mesh, scope: Scope, from?: OnlyFrom): Connections {
  const mesh = sideOf(base);
  const words = new Words(mesh);
  const decisions = new SharedDecisions();
  const { ports, withoutPort } = portsIn(scope, mesh);
  const known = new PortAccess(mesh, words.lists, { decisions, ...callersIn(from, mesh) });
  const described = ports.map((port) => {
    const host = words.hostOf(port.target);
    return {
      port,
      ...describedAccess(() => known.to(port), { host, isPlain: (route) => isPlain(route, host) }, words),
    };
  });
  const titles = new Titles(ports, scope);
  const entries = includesIngress(from, mesh) ? new Entries(mesh, words.lists, decisions).in(scope) : new Map();
  return {
    apiVersion: "meshward.io/v1alpha1",
    kind: "Connections",
    scope: reportedScope(scope),
    groups: [
      ...grouped(described, keyOfDescribed).map(({ members, first: { connections, because, routes } }) => ({
        ...titles.of(members.map(({ port }) => port)),
        ...{ connections, because, routes },
      })),
      ...ingressGroups(entries, words),
    ],
    notes: [...notesOnCallers(from, mesh), ...unknownKinds(mesh), ...notesOnPorts(withoutPort.map(idOf))],
  };
}

const notesOnPorts = (workloads: readonly string[]): readonly string[] =>
  workloads.length === 0
    ? []
    : [
        `${counted(workloads.length, "workload")} without a Service declare no port, so they are not shown: ${listedNames(workloads)}`,
      ];

type Described = Pick<ConnectionGroup, "connections" | "because" | "routes">;

const keyOfDescribed = ({ connections, because, routes }: Described): string =>
  JSON.stringify([connections, because, routes]);

/** What requests from outside reach by Gateways. All routes are told, because the host is no destination. */
function ingressGroups(entries: ReturnType<Entries["in"]>, words: Words): readonly ConnectionGroup[] {
  const described = [...entries.values()].map(({ entry, access }) => ({
    entry,
    ...describedAccess(() => access, { host: undefined, isPlain: () => false }, words),
  }));
  return grouped(described, keyOfDescribed).map(({ members, first: { connections, because, routes } }) => ({
    ...titleOfEntries(members.map(({ entry }) => entry)),
    ...{ connections, because, routes },
  }));
}

interface Shown {
  /** Of the port; undefined: it has none. */
  readonly host: string | undefined;
  /** Whether a route says nothing that the port itself does not say. */
  readonly isPlain: (route: Routed) => boolean;
}

function describedAccess(find: () => Access, { host, isPlain }: Shown, words: Words): Described {
  const work = new Work(workForWords, words.lists.memory);
  try {
    const access = find();
    const rows = acceptedRows(access, work).filter(({ callers, ways }) => words.canSend(callers, ways));
    return {
      connections: rows.map((row) => connectionOf(row, access, words)).sort(byCallers),
      because: rows.length === 0 ? access.refusals.slice(0, mostReasons) : [],
      routes: routesOf(
        routeRows(access, work).filter(({ route }) => !isPlain(route)),
        host,
        words,
      ),
    };
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    return { connections: [words.tooHard], because: [], routes: [] };
  }
}

function routesOf(rows: readonly RouteRow[], host: string | undefined, words: Words): readonly ConnectionRoute[] {
  return rows.map(({ callers, ways, requests, route }): ConnectionRoute => {
    const by = route.by.flatMap(({ virtualService, httpRoute }) => virtualService ?? httpRoute ?? []);
    return {
      from: isEverything(callers) && ways.length === 0 ? null : words.callers(callers, ways),
      requests: isEverything(requests) ? null : words.requests(requests),
      to: route.destinations.map((one) => shareOf(one, host)),
      by: [...new Set(by.map(idOf))].sort(),
    };
  });
}

const isEverything = (set: RequestSet): boolean => set.some(({ clauses }) => clauses.length === 0);

/** Whether all requests go to the host that they are sent to. A route to one subset of it says nothing of who can reach what. */
function isPlain({ destinations }: Routed, host: string | undefined): boolean {
  const [only, ...more] = destinations;
  if (host === undefined) return true;
  return only !== undefined && more.length === 0 && only.host === host && only.because === undefined;
}
