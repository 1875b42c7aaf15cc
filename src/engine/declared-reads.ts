import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { SettingName } from "../view/settings.ts";
import type { AnyFact, Index, Mesh, Reads, Relation } from "../view/view.ts";
import type { Rule } from "./rule.ts";

/** The declaration of a rule in the form that the engine needs, computed once. */
interface Declared {
  /** The relations that lead from a change to other subjects. */
  readonly relations: readonly Relation[];
  readonly kinds: ReadonlySet<Kind>;
  readonly subjects: ReadonlySet<Kind>;
  /** The target kinds of these relations: a change of such an object can affect the results of other objects. */
  readonly ends: ReadonlySet<Kind>;
  /** The declared settings of the mesh that the rule depends on: a change of one can affect every subject. */
  readonly settings: ReadonlySet<SettingName>;
}

/**
 * What is asked about a change.
 * - `introduced`: which subjects can have a problem that it introduces.
 * - `state`: which subjects can have another result in an audit, be it only another wording.
 */
export type Question = "introduced" | "state";

const declarations: Readonly<Record<Question, WeakMap<Rule, Declared>>> = {
  introduced: new WeakMap(),
  state: new WeakMap(),
};

export function declared(rule: Rule, question: Question = "introduced"): Declared {
  let found = declarations[question].get(rule);
  if (found === undefined) {
    // A change of what a fact for wording reads introduces no problem of another subject.
    const isLeftOut = ({ isForWording }: AnyFact) => question === "introduced" && isForWording === true;
    const read = relationsAmong(rule.reads, (fact) => (isLeftOut(fact) ? [] : (fact.reachedBy ?? fact.reads)));
    // In an order that is the same for all rules, so that those that follow the same relations share one walk.
    const relations = read.toSorted((a, b) => ordinalOf(a) - ordinalOf(b));
    found = {
      relations,
      kinds: new Set(kindsIn(rule.reads)),
      subjects: new Set(rule.subject),
      ends: new Set(relations.map(({ to }) => to.kind)),
      settings: settingsAmong(rule.reads, (fact) => (isLeftOut(fact) ? [] : fact.reads)),
    };
    declarations[question].set(rule, found);
  }
  return found;
}

/** All relations in the declaration, each once, including those that its facts read. */
export const relationsOf = (reads: readonly Reads[]): readonly Relation[] =>
  relationsAmong(reads, (fact) => [...fact.reads, ...(fact.reachedBy ?? [])]);

/** The settings of the mesh that the declaration names, including those that its facts read. */
export const settingsIn = (reads: readonly Reads[]): ReadonlySet<SettingName> =>
  settingsAmong(reads, ({ reads }) => reads);

/** Every kind that these relations and facts read. */
export const kindsIn = (reads: readonly Reads[]): readonly Kind[] => [
  ...new Set(relationsOf(reads).flatMap(({ from, to }) => [from.kind, to.kind])),
];

function relationsAmong(reads: readonly Reads[], behind: (fact: AnyFact) => readonly Reads[]): readonly Relation[] {
  const relations = new Set<Relation>();
  const all = new Set<Reads>(reads);
  // A Set visits what is added on the way.
  for (const read of all)
    if ("compute" in read) for (const other of behind(read)) all.add(other);
    else if (!("isSetting" in read)) relations.add(read);
  return [...relations];
}

/** The declared settings of the mesh that these reads depend on. */
function settingsAmong(reads: readonly Reads[], behind: (fact: AnyFact) => readonly Reads[]): ReadonlySet<SettingName> {
  const settings = new Set<SettingName>();
  const all = new Set<Reads>(reads);
  for (const read of all)
    if ("compute" in read) for (const other of behind(read)) all.add(other);
    else if ("isSetting" in read) settings.add(read.name);
  return settings;
}

/** Every kind that a rule reads through relations. The kind of its subject is included only if it reads other such objects. */
export const kindsRead = (rule: Rule): ReadonlySet<Kind> => declared(rule).kinds;

export const readsIntents = (rule: Rule): boolean =>
  rule.subject.includes("MeshwardIntent") || kindsRead(rule).has("MeshwardIntent");

/** The kinds that a view must contain for a rule. A rule for malformed objects of every kind adds none. */
export const kindsNeeded = (rule: Rule): ReadonlySet<Kind> =>
  new Set([...kindsRead(rule), ...(rule.judgesMalformed ? [] : rule.subject)]);

/**
 * Every kind that a view must contain for all these rules: mesh configs, webhooks and GatewayClasses, because the settings of
 * the mesh come from them, and namespaces, because policies select by their labels.
 */
export const kindsFollowed = (rules: readonly Rule[]): ReadonlySet<Kind> =>
  new Set<Kind>([
    "MeshConfig",
    "AdmissionWebhook",
    "GatewayClass",
    "Namespace",
    ...rules.flatMap((rule) => [...kindsNeeded(rule)]),
  ]);

const indexesOf = new WeakMap<readonly Rule[], readonly Index[]>();

/** The indexes through which these rules look objects up. Computed once for a list: it visits every fact of every rule. */
export function indexesRead(rules: readonly Rule[]): readonly Index[] {
  let found = indexesOf.get(rules);
  if (found === undefined) {
    found = [...new Set(rules.flatMap(({ reads }) => relationsOf(reads).flatMap(({ from, to }) => [from, to])))];
    indexesOf.set(rules, found);
  }
  return found;
}

const byKind = new WeakMap<readonly Rule[], Map<Kind, readonly Rule[]>>();

/** The rules that a change of an object of this kind may concern, in their order. */
export function rulesConcerned(rules: readonly Rule[], kind: Kind): readonly Rule[] {
  let known = byKind.get(rules);
  if (known === undefined) byKind.set(rules, (known = new Map()));
  let found = known.get(kind);
  if (found === undefined) {
    found = rules.filter((rule) => {
      const { subjects, ends } = declared(rule);
      return subjects.has(kind) || (rule.onlyOwnChanges !== true && ends.has(kind));
    });
    known.set(kind, found);
  }
  return found;
}

/** Whether the rule depends on one of these settings of the mesh, so that every subject can be concerned. */
export const readsSetting = (rule: Rule, settings: ReadonlySet<SettingName>): boolean =>
  !declared(rule).settings.isDisjointFrom(settings);

const alwaysKnown: ReadonlySet<Kind> = new Set<Kind>(["Namespace", "ListenerSet", "BackendTLSPolicy"]);

/**
 * The kinds that a view does not know. Namespaces are always known, at least as implied Namespaces. About ListenerSets, facts say
 * themselves what is not known: only Gateways that allow them depend on them, and most clusters have neither. Most clusters do not
 * serve BackendTLSPolicies either, and without them the TLS of clients is what DestinationRules say.
 */
export const unknownKinds = (mesh: Mesh): ReadonlySet<Kind> =>
  new Set(mesh.unknownKinds().filter((kind) => !alwaysKnown.has(kind)));

/** A kind that the rule requires for every subject and that is among these unknown ones. */
export function unknownTo(rule: Rule, unknown: ReadonlySet<Kind>): Kind | undefined {
  if (unknown.size === 0) return undefined;
  const isRequired = (kind: Kind) => !rule.worksWithout.includes(kind) && kind !== rule.partlyWithout?.kind;
  for (const kind of declared(rule).kinds) if (unknown.has(kind) && isRequired(kind)) return kind;
  return undefined;
}

/** A kind that the rule requires for this subject, not for all, and that the view does not know. */
export function unknownFor(rule: Rule, subject: AnyObject, mesh: Mesh): Kind | undefined {
  const partly = rule.partlyWithout;
  if (partly === undefined || mesh.knows(partly.kind) || partly.isDecided(subject, mesh.settings)) return undefined;
  return partly.kind;
}

/**
 * How changes of objects of some kinds can concern a rule: not at all; only as its own subjects; or over relations, too.
 */
export type Way = "none" | "own" | Walk;
export type Ways = (rule: Rule) => Way;

export interface Asking {
  readonly question: Question;
  /** Rules that check only changed objects do so. */
  readonly isAboutOwn: boolean;
  /** The kinds that other objects can have: no relation leads to one of another kind. */
  readonly present: ReadonlySet<Kind>;
}

const ways = new WeakMap<ReadonlySet<Kind>, Map<string, Ways>>();

/** The ways from changes of these kinds, found once for each rule, as long as the same kinds are present. */
export function waysFrom(kinds: readonly Kind[], asking: Asking): Ways {
  const { question, isAboutOwn, present } = asking;
  let amongThese = ways.get(present);
  if (amongThese === undefined) ways.set(present, (amongThese = new Map()));
  const name = `${question} ${isAboutOwn} ${kinds.join()}`;
  let found = amongThese.get(name);
  if (found === undefined) {
    const known = new WeakMap<Rule, Way>();
    found = (rule) => {
      let way = known.get(rule);
      if (way === undefined) known.set(rule, (way = wayOf(rule, kinds, asking)));
      return way;
    };
    amongThese.set(name, found);
  }
  return found;
}

function wayOf(rule: Rule, kinds: readonly Kind[], asking: Asking): Way {
  const { subjects, ends } = declared(rule, asking.question);
  const isFollowed = !(asking.isAboutOwn && rule.onlyOwnChanges === true) && kinds.some((kind) => ends.has(kind));
  const walk = isFollowed ? walkOf(rule, kinds, asking) : undefined;
  if (walk !== undefined && kinds.some((kind) => walk.readersOf.has(kind))) return walk;
  return kinds.some((kind) => subjects.has(kind)) ? "own" : "none";
}

/** The relations that lead from objects of some kinds to the subjects of a rule. */
export interface Walk {
  /** The same for rules that reach the same subjects. */
  readonly name: string;
  readonly subjects: ReadonlySet<Kind>;
  readonly readersOf: ReadonlyMap<Kind, readonly Relation[]>;
}

/** Without relations that lead nowhere: those between kinds that the change does not reach, or that no subject reads. */
function walkOf(rule: Rule, kinds: readonly Kind[], { question, present }: Asking): Walk {
  const { relations: all, subjects } = declared(rule, question);
  const relations = all.filter(({ from: reader }) => present.has(reader.kind));
  const reached = reachable(kinds, relations, "to");
  const followed = relations.filter(({ to }) => reached.has(to.kind));
  const readersOf = leadingTo(subjects, followed);
  const ordinals = [...readersOf.values()].flat().map(ordinalOf);
  return { name: `${ordinals.join()} ${[...subjects].join()}`, subjects, readersOf };
}

/** Those of these relations that lead, backwards and over others of them, to an object of these kinds; by the kind that is read. */
export function leadingTo(subjects: ReadonlySet<Kind>, relations: readonly Relation[]): Walk["readersOf"] {
  const useful = reachable(subjects, relations, "from");
  return Map.groupBy(
    relations.filter(({ from: reader }) => useful.has(reader.kind)),
    ({ to }) => to.kind,
  );
}

/** These kinds, and those that relations lead to from them, from this end of each to the other. */
function reachable(from: Iterable<Kind>, relations: readonly Relation[], start: "from" | "to"): ReadonlySet<Kind> {
  const kinds = new Set(from);
  const end = start === "from" ? "to" : "from";
  for (let before = -1; before !== kinds.size; ) {
    before = kinds.size;
    for (const relation of relations) if (kinds.has(relation[start].kind)) kinds.add(relation[end].kind);
  }
  return kinds;
}

const ordinals = new WeakMap<Relation, number>();
let lastOrdinal = 0;
function ordinalOf(relation: Relation): number {
  const ordinal = ordinals.get(relation) ?? ++lastOrdinal;
  ordinals.set(relation, ordinal);
  return ordinal;
}

/** Declared relations that cannot be reached from the rule's subject: they are unnecessary, or one in between is missing. */
export function unreachable(rule: Rule): readonly string[] {
  const known = new Set<Kind>(rule.subject);
  const { relations } = declared(rule);
  for (let before = -1; before !== known.size; ) {
    before = known.size;
    for (const { from, to } of relations) if (known.has(from.kind)) known.add(to.kind);
  }
  return relations.filter(({ from }) => !known.has(from.kind)).map(({ name }) => name);
}
