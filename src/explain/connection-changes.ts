import { Access, type Routed } from "../mesh/connections/access.ts";
import { accessChanges, type AccessChange } from "../mesh/connections/difference.ts";
import { Entries } from "../mesh/connections/entries.ts";
import { PortAccess, SharedDecisions } from "../mesh/connections/port-access.ts";
import { portsIn, type ReachablePort, type Scope } from "../mesh/connections/targets.ts";
import { Undecided, Work } from "../mesh/authorization/requests/work.ts";
import type { ChangeGroup, ConnectionChange, ConnectionChanges } from "../report/connections.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import { nameOf, titleOfEntries, Titles } from "./connection-titles.ts";
import {
  byCallers,
  callersIn,
  grouped,
  includesIngress,
  mostReasons,
  notesOnCallers,
  type OnlyFrom,
  reportedScope,
  shareOf,
  tooMuchWork,
  unknownKinds,
  Words,
  workForWords,
} from "./connection-words.ts";
import { listedNames } from "./wording.ts";

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
  const hasIngress = [was, is].some((mesh) => includesIngress(from, mesh));
  const ingress = hasIngress ? ingressChanges([was, is], scope, { words, decisions }) : [];
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
    groups: [
      ...groups.map(
        ({ members, first: { existence, changes } }): ChangeGroup => ({
          ...titles.of(members.flatMap(({ port }) => port ?? [])),
          ...{ existence, changes },
        }),
      ),
      ...ingress,
    ],
    undecidedPorts: open.length,
    notes: [...notesOnCallers(from, is), ...unknownKinds(is), ...notesOnDoubts(open)],
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

const existenceOf = ({ old, now }: { readonly old: unknown; readonly now: unknown }): ChangeGroup["existence"] =>
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
    const [was, is] = this.#sides;
    const [before, after] = [was.to(old, is.distinguished(now)), is.to(now, was.distinguished(old))];
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
    const found = accessChanges(before, after, new Work(2 * workForWords, this.#words.lists.memory)).filter(
      ({ callers, ways }) => this.#words.canSend(callers, ways),
    );
    const changes = found.map((change) => reportedChange(change, target, this.#words)).sort(byCallers);
    // Where routes change, names of destinations are told.
    if (found.every(({ change }) => change.kind !== "route")) this.#known.set(key, changes);
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
  if (change.kind === "partly")
    return { kind: change.isNow ? "partly" : "wholly", ...common, was: null, is: null, routes: null };
  const { from: was, to: is } = change;
  const kind = was === undefined ? "appeared" : is === undefined ? "gone" : "status";
  return { kind, ...common, was: was ?? null, is: is ?? null, routes: null };
}

interface Sharing {
  readonly words: Words;
  readonly decisions: SharedDecisions;
}

/** What a change does to requests that come in by Gateways. */
function ingressChanges(
  [was, is]: readonly [Mesh, Mesh],
  scope: Scope,
  { words, decisions }: Sharing,
): readonly ChangeGroup[] {
  const [old, now] = [was, is].map((mesh) => new Entries(mesh, words.lists, decisions).in(scope)) as [
    ReturnType<Entries["in"]>,
    ReturnType<Entries["in"]>,
  ];
  const nothing = new Access([], words.lists);
  const described = [...new Set([...now.keys(), ...old.keys()])]
    .sort()
    .map((key) => [old.get(key), now.get(key)] as const)
    .flatMap(([before, after]) => {
      const { entry } = after ?? before ?? {};
      const changes = changesOfEntry(before?.access ?? nothing, after?.access ?? nothing, words);
      return entry === undefined || changes.length === 0
        ? []
        : [{ entry, existence: existenceOf({ old: before, now: after }), changes }];
    });
  return grouped(described, ({ existence, changes }) => JSON.stringify([existence, changes])).map(
    ({ members, first: { existence, changes } }) => ({
      ...titleOfEntries(members.map(({ entry }) => entry)),
      ...{ existence, changes },
    }),
  );
}

function changesOfEntry(before: Access, after: Access, words: Words): readonly ConnectionChange[] {
  try {
    const found = accessChanges(before, after, new Work(2 * workForWords, words.lists.memory));
    return found.map((change) => reportedChange(change, undefined, words)).sort(byCallers);
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    return [];
  }
}
