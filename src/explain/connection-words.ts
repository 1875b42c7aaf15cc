import type { Kind } from "../kube/kinds.ts";
import type { Access, Way } from "../mesh/connections/access.ts";
import { SharedLists } from "../mesh/connections/callers.ts";
import type { AcceptedRow } from "../mesh/connections/rows.ts";
import type { ReachablePort, Scope } from "../mesh/connections/targets.ts";
import { allRequests, type RequestSet } from "../mesh/authorization/requests/sets.ts";
import { Work } from "../mesh/authorization/requests/work.ts";
import { type WrittenClause, writtenClause } from "../mesh/authorization/requests/written.ts";
import { type Sender, senderOf } from "../mesh/membership/clients.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import { formatCallers, type KnownAccounts, writtenCallers } from "../mesh/requests/caller-wording.ts";
import { clientsOfNamespace } from "../mesh/requests/clients-alike.ts";
import type { RouteDestination } from "../mesh/requests/outcome.ts";
import type { Caller } from "../mesh/requests/question.ts";
import { everything, formatSet, type WordingLimits } from "../mesh/requests/set-wording.ts";
import { hostOfService } from "../mesh/traffic/hosts.ts";
import { noteOnAccount } from "./caller-notes.ts";
import type {
  Connection,
  ReportedCallers,
  ReportedRequests,
  ReportedScope,
  ReportedShare,
} from "../report/connections.ts";
import type { AllMeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";
import { listedNames } from "./wording.ts";

/** The work to say what was found out about one port. What takes more is said to be undecided. */
export const workForWords = 2_000_000;

/** What people read lists so many values and alternatives. */
const short: WordingLimits = { values: 8, alternatives: 12 };

/** Whose connections are shown. */
export interface OnlyFrom {
  /** In words: `namespace web`. */
  readonly name: string;
  /** The caller in a mesh; undefined: it is not there. */
  in(mesh: Mesh): Caller | undefined;
}

export const callersIn = (from: OnlyFrom | undefined, mesh: Mesh): { readonly callers?: readonly Caller[] } => {
  if (from === undefined) return {};
  const caller = from.in(mesh);
  return { callers: caller === undefined ? [] : [caller] };
};
/** Whether requests that come in by Gateways are shown: their callers are outside the mesh. */
export const includesIngress = (from: OnlyFrom | undefined, mesh: Mesh): boolean =>
  from === undefined || from.in(mesh)?.kind === "outside";

export function notesOnCallers(from: OnlyFrom | undefined, mesh: Mesh): readonly string[] {
  if (from === undefined) return [];
  const caller = from.in(mesh);
  const unknown = caller && noteOnAccount(caller, mesh);
  return [`only requests from this caller are shown: ${from.name}`, ...(unknown === undefined ? [] : [unknown])];
}

/** What decides about connections. Without any of them nothing shows that there are none elsewhere. */
const decisive: readonly Kind[] = ["Namespace", "Workload", "Service", "AuthorizationPolicy", "PeerAuthentication"];

export const unknownKinds = (mesh: Mesh): readonly string[] => {
  const unknown = decisive.filter((kind) => !mesh.knows(kind));
  return unknown.length === 0
    ? []
    : [
        `the mesh contains no ${listedNames(unknown)}: if there are some that it does not contain, connections may differ`,
      ];
};

export const reportedScope = (scope: Scope): ReportedScope => {
  if (scope.kind === "mesh") return {};
  if (scope.kind === "host") return { host: scope.host };
  return scope.kind === "namespace" ? { namespace: scope.name } : { namespace: scope.namespace, service: scope.name };
};

export function grouped<T>(
  all: readonly T[],
  keyOf: (one: T) => string,
): readonly { readonly members: readonly T[]; readonly first: T }[] {
  return [...Map.groupBy(all, keyOf).values()].flatMap((members) =>
    members[0] === undefined ? [] : [{ members, first: members[0] }],
  );
}

export const mostReasons = 3;
export const tooMuchWork = "what the policies say together takes too much work to find out";

const kindsOfCallers = ["named", "mesh", "all", "outside"];
const rankOf = ({ from }: Pick<Connection, "from">): number =>
  Math.min(...from.alternatives.map(({ kind }) => kindsOfCallers.indexOf(kind)));

/** Named callers first, and those without a certificate last. */
export const byCallers = (a: Pick<Connection, "from">, b: Pick<Connection, "from">): number =>
  rankOf(a) - rankOf(b) || (a.from.text < b.from.text ? -1 : Number(a.from.text > b.from.text));

export function connectionOf(
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

export function shareOf(
  { host, port, subset, share, because }: RouteDestination,
  own: string | undefined,
): ReportedShare {
  const place = host === own && subset !== undefined ? [] : [`${host}:${port}`];
  return {
    text: [...place, ...(subset === undefined ? [] : [`subset ${subset}`])].join(" "),
    ...{ host, port, subset: subset ?? null },
    percent: Math.round(share * 10_000) / 100,
    because: because ?? null,
  };
}

/** Sets in words and for programs. What several ports share is written once. */
export class Words {
  readonly lists: SharedLists;
  readonly #meshes: readonly Mesh[];
  readonly #settings: AllMeshSettings;
  readonly #known: KnownAccounts;
  readonly #withoutCertificate: ReadonlySet<string>;

  constructor(...meshes: readonly [Mesh, ...Mesh[]]) {
    const [{ settings }] = meshes;
    this.#meshes = meshes;
    this.#settings = settings;
    this.lists = new SharedLists(settings);
    this.#known = knownAccounts(meshes);
    this.#withoutCertificate = accountsWithoutCertificate(meshes);
  }

  hostOf(target: ReachablePort["target"] | undefined): string | undefined {
    if (target?.kind === "host") return target.host;
    return target?.kind === "service" ? hostOfService(target.service, this.#settings.domain) : undefined;
  }

  callers(callers: RequestSet, all: readonly Way[]): ReportedCallers {
    // Callers without a certificate have no other way.
    const ways = all.filter(({ sender }) => sender !== "nothing");
    const text = (limits: WordingLimits) => {
      const [settings, known, withoutCertificate] = [this.#settings, this.#known, this.#withoutCertificate];
      const who = formatCallers(callers, { settings, known, withoutCertificate, limits });
      return ways.length === 0 ? who : `${who} (${ways.map(wayText).join("; ")})`;
    };
    return {
      text: text(everything),
      short: text(short),
      alternatives: writtenCallers(callers, this.#settings),
      ways: ways.map(({ sender, workloads }) => ({ sender, workloads })),
    };
  }

  /**
   * Whether some of the callers can send in one of these ways. Of the rest of the mesh it is not known through which data plane it sends,
   * so that all are considered, and a policy may name callers of a namespace in which nothing sends in that way.
   */
  canSend(callers: RequestSet, ways: readonly Way[]): boolean {
    if (ways.length === 0 || ways.some(({ workloads }) => workloads.length > 0)) return true;
    const named = writtenCallers(callers, this.#settings);
    return named.some(({ kind, accounts, namespaces, patterns }) => {
      if (kind !== "named" || patterns.length > 0) return true;
      const names = [...namespaces, ...accounts.map((account) => account.slice(0, account.indexOf("/")))];
      return names.some((name) => ways.some(({ sender }) => this.#hasSender(name, sender)));
    });
  }

  #hasSender(name: string, sender: Sender): boolean {
    const found = this.#meshes.flatMap((mesh) => {
      const namespace = namespaceIn(mesh, name);
      return namespace.implied === true ? [] : [mesh.get(clientsOfNamespace, namespace).senders];
    });
    return found.length === 0 || found.some((senders) => senders.has(sender) || senders.has("unknown"));
  }

  /** Everything is undecided. */
  get tooHard(): Connection {
    const [from, requests] = [this.callers(allRequests, []), this.requests(allRequests)];
    return { from, status: "undecided", requests, partly: null, because: [tooMuchWork] };
  }

  requests(set: RequestSet): ReportedRequests {
    return {
      text: formatSet(set, everything, new Work(workForWords, this.lists.memory)),
      short: formatSet(set, short, new Work(workForWords, this.lists.memory)),
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

/**
 * What policies allow to a service account is shown whatever its pods are, because one with a certificate can come at any time, and
 * because a policy that lets nobody in may be a mistake. That no pod has one now is said beside it.
 */
function accountsWithoutCertificate(meshes: readonly Mesh[]): ReadonlySet<string> {
  const [without, having] = [new Set<string>(), new Set<string>()];
  for (const mesh of meshes) {
    if (!mesh.knowsAll("Workload")) return new Set();
    const namespaces = new Map([...mesh.all("Namespace")].map((one) => [one.metadata.name, one]));
    for (const workload of mesh.all("Workload")) {
      const namespace = namespaces.get(workload.metadata.namespace);
      const isOutside = namespace !== undefined && senderOf(workload, namespace, mesh.settings) === "nothing";
      (isOutside ? without : having).add(`${workload.metadata.namespace}/${workload.pod.serviceAccountName}`);
    }
  }
  return without.difference(having);
}

function knownAccounts(meshes: readonly Mesh[]): KnownAccounts {
  const known = new Map<string, Set<string>>();
  for (const mesh of meshes)
    for (const { metadata, pod } of mesh.all("Workload")) {
      const accounts = known.get(metadata.namespace) ?? new Set();
      known.set(metadata.namespace, accounts.add(pod.serviceAccountName));
    }
  return known;
}
