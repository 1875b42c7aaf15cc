import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import { formatCallers, type KnownAccounts, writtenCallers } from "../mesh/requests/caller-wording.ts";
import { allRequests, type RequestSet } from "../mesh/authorization/requests/sets.ts";
import { Undecided, Work } from "../mesh/authorization/requests/work.ts";
import { type WrittenClause, writtenClause } from "../mesh/authorization/requests/written.ts";
import { everything, formatSet, type WordingLimits } from "../mesh/requests/set-wording.ts";
import type { Access, Routed, Way } from "../mesh/connections/access.ts";
import { SharedLists } from "../mesh/connections/callers.ts";
import { accessChanges, type AccessChange } from "../mesh/connections/difference.ts";
import { PortAccess, SharedDecisions } from "../mesh/connections/port-access.ts";
import { type AcceptedRow, acceptedRows, type RouteRow, routeRows } from "../mesh/connections/rows.ts";
import { portsIn, type ReachablePort, type Scope } from "../mesh/connections/targets.ts";
import { hostOfService } from "../mesh/traffic/hosts.ts";
import type { RouteDestination } from "../mesh/requests/outcome.ts";
import type { Caller } from "../mesh/requests/question.ts";
import type {
  ChangeGroup,
  Connection,
  ConnectionChange,
  ConnectionChanges,
  ConnectionGroup,
  ConnectionRoute,
  Connections,
  ReportedCallers,
  ReportedPort,
  ReportedRequests,
  ReportedScope,
  ReportedShare,
} from "../report/connections.ts";
import { counted } from "../text/phrases.ts";
import { sideOf } from "../view/side.ts";
import type { MeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";
import { listedNames } from "./wording.ts";

/** The work to say what was found out about one port. What takes more is said to be undecided. */
const workForWords = 2_000_000;

/** What people read lists so many values and alternatives. */
const short: WordingLimits = { values: 8, alternatives: 12 };

/** Whose connections are shown. */
export interface OnlyFrom {
  /** In words: `namespace web`. */
  readonly name: string;
  /** The caller in a mesh; undefined: it is not there. */
  in(mesh: Mesh): Caller | undefined;
}

const callersIn = (from: OnlyFrom | undefined, mesh: Mesh): { readonly callers?: readonly Caller[] } => {
  if (from === undefined) return {};
  const caller = from.in(mesh);
  return { callers: caller === undefined ? [] : [caller] };
};
const notesOnCallers = (from: OnlyFrom | undefined): readonly string[] =>
  from === undefined ? [] : [`only requests from this caller are shown: ${from.name}`];

/** Who can reach what in the scope. `from`: only this caller; undefined: everybody. */
export function connectionsOf(base: Mesh, scope: Scope, from?: OnlyFrom): Connections {
  const mesh = sideOf(base);
  const words = new Words(mesh);
  const { ports, withoutPort } = portsIn(scope, mesh);
  const known = new PortAccess(mesh, words.lists, callersIn(from, mesh));
  const described = ports.map((port) => ({ port, ...describedPort(port, known, words) }));
  const groups = grouped(described, ({ connections, because, routes }) =>
    JSON.stringify([connections, because, routes]),
  );
  const titles = new Titles(ports, scope);
  return {
    apiVersion: "meshward.io/v1alpha1",
    kind: "Connections",
    scope: reportedScope(scope),
    groups: groups.map(({ members, first: { connections, because, routes } }) => ({
      ...titles.of(members.map(({ port }) => port)),
      ...{ connections, because, routes },
    })),
    notes: [...notesOnCallers(from), ...unknownKinds(mesh), ...notesOnPorts(withoutPort.map(idOf))],
  };
}

/** What a change does to the connections in the scope. */
export function connectionChangesOf(before: Mesh, after: Mesh, scope: Scope, from?: OnlyFrom): ConnectionChanges {
  const [was, is] = [sideOf(before), sideOf(after)];
  const words = new Words(is, was);
  const [old, now] = [portsIn(scope, was).ports, portsIn(scope, is).ports];
  const pairs = portPairs(old, now);
  const decisions = new SharedDecisions();
  const sides = [was, is].map((mesh) => new PortAccess(mesh, words.lists, { decisions, ...callersIn(from, mesh) })) as [
    PortAccess,
    PortAccess,
  ];
  const comparison = new Comparison(sides, words);
  const compared = pairs.map((pair) => ({ pair, ...comparison.of(pair) }));
  const described = compared.flatMap(({ pair, changes }) =>
    changes.length === 0 ? [] : [{ port: pair.now ?? pair.old, existence: existenceOf(pair), changes }],
  );
  const open = compared.filter(({ doubts }) => doubts.length > 0);
  const groups = grouped(described, ({ existence, changes }) => JSON.stringify([existence, changes]));
  const titles = new Titles(
    pairs.flatMap((pair) => pair.now ?? pair.old ?? []),
    scope,
  );
  return {
    apiVersion: "meshward.io/v1alpha1",
    kind: "ConnectionChanges",
    scope: reportedScope(scope),
    groups: groups.map(
      ({ members, first: { existence, changes } }): ChangeGroup => ({
        ...titles.of(members.flatMap(({ port }) => port ?? [])),
        ...{ existence, changes },
      }),
    ),
    undecidedPorts: open.length,
    notes: [...notesOnCallers(from), ...unknownKinds(is), ...notesOnDoubts(open)],
  };
}

const reportedScope = (scope: Scope): ReportedScope => {
  if (scope.kind === "mesh") return {};
  if (scope.kind === "host") return { host: scope.host };
  return scope.kind === "namespace" ? { namespace: scope.name } : { namespace: scope.namespace, service: scope.name };
};

function grouped<T>(
  all: readonly T[],
  keyOf: (one: T) => string,
): readonly { readonly members: readonly T[]; readonly first: T }[] {
  return [...Map.groupBy(all, keyOf).values()].flatMap((members) =>
    members[0] === undefined ? [] : [{ members, first: members[0] }],
  );
}

/** What decides about connections. Without any of them nothing shows that there are none elsewhere. */
const decisive: readonly Kind[] = ["Namespace", "Workload", "Service", "AuthorizationPolicy", "PeerAuthentication"];

const unknownKinds = (mesh: Mesh): readonly string[] => {
  const unknown = decisive.filter((kind) => !mesh.knows(kind));
  return unknown.length === 0
    ? []
    : [
        `the mesh contains no ${listedNames(unknown)}: if there are some that it does not contain, connections may differ`,
      ];
};

const notesOnPorts = (workloads: readonly string[]): readonly string[] =>
  workloads.length === 0
    ? []
    : [
        `${counted(workloads.length, "workload")} without a Service declare no port, so they are not shown: ${listedNames(workloads)}`,
      ];

type DescribedPort = Pick<ConnectionGroup, "connections" | "because" | "routes">;

function describedPort(port: ReachablePort, known: PortAccess, words: Words): DescribedPort {
  const work = new Work(workForWords);
  try {
    const access = known.to(port);
    const rows = acceptedRows(access, work);
    return {
      connections: rows.map((row) => connectionOf(row, access, words)).sort(byCallers),
      because: rows.length === 0 ? access.refusals.slice(0, mostReasons) : [],
      routes: routesOf(port, routeRows(access, work), words),
    };
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    return { connections: [words.tooHard], because: [], routes: [] };
  }
}

const kindsOfCallers = ["named", "mesh", "all", "outside"];
const rankOf = ({ from }: Pick<Connection, "from">): number =>
  Math.min(...from.alternatives.map(({ kind }) => kindsOfCallers.indexOf(kind)));

/** Named callers first, and those without a certificate last. */
const byCallers = (a: Pick<Connection, "from">, b: Pick<Connection, "from">): number =>
  rankOf(a) - rankOf(b) || (a.from.text < b.from.text ? -1 : Number(a.from.text > b.from.text));

const mostReasons = 3;
const tooMuchWork = "what the policies say together takes too much work to find out";

function connectionOf(
  { callers, ways, status, requests, partly }: AcceptedRow,
  access: Access,
  words: Words,
): Connection {
  return {
    from: words.callers(callers, ways),
    status,
    requests: words.requests(requests),
    partly: partly.length === 0 ? null : words.requests(partly),
    because: status === "undecided" ? access.doubts : [],
  };
}

/** Routes that lead elsewhere than to the port itself. */
function routesOf(port: ReachablePort, rows: readonly RouteRow[], words: Words): readonly ConnectionRoute[] {
  const host = words.hostOf(port.target);
  return rows.flatMap(({ callers, ways, requests, route }): readonly ConnectionRoute[] => {
    if (isPlain(route, host)) return [];
    const by = route.by.flatMap(({ virtualService }) => (virtualService === undefined ? [] : [idOf(virtualService)]));
    return [
      {
        from: isEverything(callers) && ways.length === 0 ? null : words.callers(callers, ways),
        requests: isEverything(requests) ? null : words.requests(requests),
        to: route.destinations.map((one) => shareOf(one, host)),
        by: [...new Set(by)].sort(),
      },
    ];
  });
}

const isEverything = (set: RequestSet): boolean => set.some(({ clauses }) => clauses.length === 0);

/** Whether all requests go to the host that they are sent to. A route to one subset of it says nothing of who can reach what. */
function isPlain({ destinations }: Routed, host: string | undefined): boolean {
  const [only, ...more] = destinations;
  if (host === undefined) return true;
  return only !== undefined && more.length === 0 && only.host === host && only.because === undefined;
}

function shareOf({ host, port, subset, share, because }: RouteDestination, own: string | undefined): ReportedShare {
  const place = host === own && subset !== undefined ? [] : [`${host}:${port}`];
  return {
    text: [...place, ...(subset === undefined ? [] : [`subset ${subset}`])].join(" "),
    ...{ host, port, subset: subset ?? null },
    percent: Math.round(share * 10_000) / 100,
    because: because ?? null,
  };
}

interface PortPair {
  readonly old: ReachablePort | undefined;
  readonly now: ReachablePort | undefined;
}

function portPairs(before: readonly ReachablePort[], after: readonly ReachablePort[]): readonly PortPair[] {
  const old = new Map(before.map((port) => [keyOfPort(port), port]));
  const now = new Map(after.map((port) => [keyOfPort(port), port]));
  return [...new Set([...now.keys(), ...old.keys()])].map((key) => ({ old: old.get(key), now: now.get(key) }));
}
const keyOfPort = ({ kind, namespace, name, port }: ReachablePort): string => [kind, namespace, name, port].join("/");

const existenceOf = ({ old, now }: PortPair): ChangeGroup["existence"] =>
  old === undefined ? "new" : now === undefined ? "gone" : "kept";

interface ComparedPort {
  readonly changes: readonly ConnectionChange[];
  /** Why requests are undecided, if some are before and after the change. */
  readonly doubts: readonly string[];
}

/** Compares ports. What many of them have in common, as after a change of a policy for a whole namespace, is compared once. */
class Comparison {
  readonly #sides: readonly [PortAccess, PortAccess];
  readonly #words: Words;
  readonly #known = new Map<string, readonly ConnectionChange[]>();

  constructor(sides: readonly [PortAccess, PortAccess], words: Words) {
    this.#sides = sides;
    this.#words = words;
  }

  of({ old, now }: PortPair): ComparedPort {
    const [before, after] = [this.#sides[0].to(old), this.#sides[1].to(now)];
    try {
      const changes = this.#changes(before, after, (now ?? old)?.target);
      return { changes, doubts: before.doubts.length === 0 ? [] : after.doubts };
    } catch (error) {
      if (!(error instanceof Undecided)) throw error;
      return { changes: [], doubts: [tooMuchWork] };
    }
  }

  #changes(before: Access, after: Access, target: ReachablePort["target"] | undefined): readonly ConnectionChange[] {
    const host = this.#words.hostOf(target);
    const key = `${before.shape(host)}\n${after.shape(host)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = accessChanges(before, after, new Work(2 * workForWords));
    const changes = found.map((change) => reportedChange(change, target, this.#words)).sort(byCallers);
    // Where routes change, names of destinations are told.
    if (found.every(({ change }) => change.kind === "status")) this.#known.set(key, changes);
    return changes;
  }
}

function notesOnDoubts(
  open: readonly { readonly pair: PortPair; readonly doubts: readonly string[] }[],
): readonly string[] {
  if (open.length === 0) return [];
  const names = open.flatMap(({ pair }) => pair.now ?? pair.old ?? []).map((port) => `${nameOf(port)}:${port.port}`);
  const reasons = [...new Set(open.flatMap(({ doubts }) => doubts))].sort();
  return [
    `requests to ${listedNames(names)} are undecided before and after the change, so what it does to them is not known: ${listedNames(reasons, mostReasons)}`,
  ];
}

function reportedChange(
  { callers, ways, requests, change }: AccessChange,
  target: ReachablePort["target"] | undefined,
  words: Words,
): ConnectionChange {
  const common = { from: words.callers(callers, ways), requests: words.requests(requests) };
  if (change.kind === "route") {
    const shares = ({ destinations }: Routed) => destinations.map((one) => shareOf(one, words.hostOf(target)));
    const routes = { was: shares(change.from), is: shares(change.to) };
    return { kind: "route", ...common, was: null, is: null, routes };
  }
  const { from: was, to: is } = change;
  const kind = was === undefined ? "appeared" : is === undefined ? "gone" : "status";
  return { kind, ...common, was: was ?? null, is: is ?? null, routes: null };
}

/** Titles of groups of ports. */
class Titles {
  readonly #perNamespace: ReadonlyMap<string, number>;

  constructor(all: readonly ReachablePort[], scope: Scope) {
    const counts = Map.groupBy(
      scope.kind === "service" || scope.kind === "host" ? [] : all,
      ({ namespace }) => namespace,
    );
    this.#perNamespace = new Map([...counts].map(([namespace, { length }]) => [namespace, length]));
  }

  of(ports: readonly ReachablePort[]): { readonly title: string; readonly ports: readonly ReportedPort[] } {
    const byNamespace = Map.groupBy(ports, ({ namespace }) => namespace);
    const [whole, others]: [string[], ReachablePort[]] = [[], []];
    for (const [namespace, own] of byNamespace)
      if (own.length > fewPorts && own.length === this.#perNamespace.get(namespace)) whole.push(namespace);
      else others.push(...own);
    const count = whole.reduce((sum, namespace) => sum + (this.#perNamespace.get(namespace) ?? 0), 0);
    const everythingIn =
      whole.length === 0
        ? []
        : [`everything in ${whole.length === 1 ? "namespace" : "namespaces"} ${listedNames(whole)} (${count} ports)`];
    const names = [...Map.groupBy(others, nameOf)].map(
      ([name, some]) => `${name}:${some.map(({ port }) => port).join(",")}`,
    );
    return {
      title: [...everythingIn, ...(names.length === 0 ? [] : [listedNames(names)])].join(", "),
      ports: ports.map(({ kind, namespace, name, port }) => ({ kind, namespace, name, port })),
    };
  }
}

/** So many ports are listed even if the namespace has no others. */
const fewPorts = 2;

const nameOf = ({ kind, namespace, name }: ReachablePort): string =>
  kind === "ServiceEntry"
    ? name
    : kind === "Service"
      ? `${name}.${namespace}`
      : `${kind.toLowerCase()}/${namespace}/${name}`;

/** Sets in words and for programs. What several ports share is written once. */
class Words {
  readonly lists: SharedLists;
  readonly #settings: MeshSettings;
  readonly #known: KnownAccounts;

  constructor(...meshes: readonly [Mesh, ...Mesh[]]) {
    const [{ settings }] = meshes;
    this.#settings = settings;
    this.lists = new SharedLists(settings);
    this.#known = knownAccounts(meshes);
  }

  hostOf(target: ReachablePort["target"] | undefined): string | undefined {
    if (target?.kind === "host") return target.host;
    return target?.kind === "service" ? hostOfService(target.service, this.#settings.domain) : undefined;
  }

  callers(callers: RequestSet, all: readonly Way[]): ReportedCallers {
    // Callers without a certificate have no other way.
    const ways = all.filter(({ sender }) => sender !== "nothing");
    const text = (limits: WordingLimits) => {
      const who = formatCallers(callers, { settings: this.#settings, known: this.#known, limits });
      return ways.length === 0 ? who : `${who} (${ways.map(wayText).join("; ")})`;
    };
    return {
      text: text(everything),
      short: text(short),
      alternatives: writtenCallers(callers, this.#settings),
      ways: ways.map(({ sender, workloads }) => ({ sender, workloads })),
    };
  }

  /** Everything is undecided. */
  get tooHard(): Connection {
    const [from, requests] = [this.callers(allRequests, []), this.requests(allRequests)];
    return { from, status: "undecided", requests, partly: null, because: [tooMuchWork] };
  }

  requests(set: RequestSet): ReportedRequests {
    return {
      text: formatSet(set, everything, new Work(workForWords)),
      short: formatSet(set, short, new Work(workForWords)),
      alternatives: set.map(({ clauses }) => clauses.map(writtenClause).sort(byAttribute)),
    };
  }
}

const byAttribute = (a: WrittenClause, b: WrittenClause): number =>
  a.attribute < b.attribute ? -1 : Number(a.attribute > b.attribute) || Number(a.not) - Number(b.not);

const senders = {
  proxy: "with a sidecar",
  ztunnel: "through ztunnel",
  nothing: "without a proxy",
  unknown: "whose data plane is not known",
} as const;
const wayText = ({ sender, workloads }: Way): string =>
  workloads.length === 0 ? senders[sender] : `${senders[sender]}: ${listedNames(workloads)}`;

function knownAccounts(meshes: readonly Mesh[]): KnownAccounts {
  const known = new Map<string, Set<string>>();
  for (const mesh of meshes)
    for (const { metadata, pod } of mesh.all("Workload")) {
      const accounts = known.get(metadata.namespace) ?? new Set();
      known.set(metadata.namespace, accounts.add(pod.serviceAccountName));
    }
  return known;
}
