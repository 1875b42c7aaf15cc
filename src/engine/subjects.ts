import { identityOf, keyOf } from "../kube/identity.ts";
import { allKinds, type Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { SettingName } from "../view/settings.ts";
import { SmallMap } from "../view/small-map.ts";
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
  /** What to follow from changed objects, by their kinds. */
  readonly walks: Map<string, Walk>;
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

function declared(rule: Rule, question: Question = "introduced"): Declared {
  let found = declarations[question].get(rule);
  if (found === undefined) {
    // A change of what a fact for wording reads introduces no problem of another subject.
    const isLeftOut = ({ isForWording }: AnyFact) => question === "introduced" && isForWording === true;
    const relations = relationsAmong(rule.reads, (fact) => (isLeftOut(fact) ? [] : (fact.reachedBy ?? fact.reads)));
    found = {
      relations,
      kinds: new Set(kindsIn(rule.reads)),
      subjects: new Set(rule.subject),
      ends: new Set(relations.map(({ to }) => to.kind)),
      settings: settingsAmong(rule.reads, (fact) => (isLeftOut(fact) ? [] : fact.reads)),
      walks: new Map(),
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

/** The kinds that a view must contain for a rule. A rule for malformed objects of every kind adds none. */
export const kindsNeeded = (rule: Rule): ReadonlySet<Kind> =>
  new Set([...kindsRead(rule), ...(rule.judgesMalformed ? [] : rule.subject)]);

/**
 * Every kind that a view must contain for all these rules: mesh configs and webhooks, because the settings of the mesh
 * come from them, and namespaces, because policies select by their labels.
 */
export const kindsFollowed = (rules: readonly Rule[]): ReadonlySet<Kind> =>
  new Set<Kind>(["MeshConfig", "AdmissionWebhook", "Namespace", ...rules.flatMap((rule) => [...kindsNeeded(rule)])]);

/** The indexes through which these rules look objects up. */
export const indexesRead = (rules: readonly Rule[]): readonly Index[] => [
  ...new Set(rules.flatMap(({ reads }) => relationsOf(reads).flatMap(({ from, to }) => [from, to]))),
];

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

/** The kinds that a view does not know. Namespaces are always known, at least as implied Namespaces. */
export const unknownKinds = (mesh: Mesh): ReadonlySet<Kind> =>
  new Set(allKinds.filter((kind) => kind !== "Namespace" && !mesh.knows(kind)));

/** A kind that the rule requires and that is among these unknown ones. */
export function unknownTo(rule: Rule, unknown: ReadonlySet<Kind>): Kind | undefined {
  if (unknown.size === 0) return undefined;
  for (const kind of declared(rule).kinds) if (unknown.has(kind) && !rule.worksWithout.includes(kind)) return kind;
  return undefined;
}

/** The relations that lead from objects of some kinds to the subjects of a rule. */
interface Walk {
  /** The same for rules that reach the same subjects. */
  readonly name: string;
  readonly readersOf: ReadonlyMap<Kind, readonly Relation[]>;
}

/** Without relations that lead nowhere: those between kinds that the change does not reach, or that no subject reads. */
function walkOf(rule: Rule, from: string, question: Question): Walk {
  const { relations, subjects, walks } = declared(rule, question);
  const known = walks.get(from);
  if (known !== undefined) return known;
  const reached = reachable(new Set(from.split(",")), relations, ({ from: reader, to }) => [to.kind, reader.kind]);
  const useful = reachable(new Set<string>(subjects), relations, ({ from: reader, to }) => [reader.kind, to.kind]);
  const followed = relations
    .filter(({ from: reader, to }) => reached.has(to.kind) && useful.has(reader.kind))
    .map((relation) => [ordinalOf(relation), relation] as const)
    .sort(([a], [b]) => a - b);
  const walk = {
    name: `${followed.map(([ordinal]) => ordinal).join()} ${[...subjects].join()}`,
    readersOf: Map.groupBy(
      followed.map(([, relation]) => relation),
      ({ to }) => to.kind,
    ),
  };
  walks.set(from, walk);
  return walk;
}

/** Adds the kinds that relations lead to from these kinds, in one direction. */
function reachable(
  kinds: Set<string>,
  relations: readonly Relation[],
  ends: (relation: Relation) => readonly [from: Kind, to: Kind],
): ReadonlySet<string> {
  for (let before = -1; before !== kinds.size; ) {
    before = kinds.size;
    for (const [from, to] of relations.map(ends)) if (kinds.has(from)) kinds.add(to);
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

interface Sides {
  readonly before: Mesh;
  readonly after: Mesh;
  readonly settings?: ReadonlySet<SettingName>;
}

/** The subjects of one review, or of one change in an audit. Rules that follow the same relations from the changed objects share one search. */
export class Subjects {
  readonly #changes: readonly Change[] | undefined;
  readonly #after: Mesh;
  readonly #changed: readonly AnyObject[];
  /** The subject of the only change; undefined: there are several. */
  readonly #own: readonly AnyObject[] | undefined;
  /** The other versions of changed objects that come earlier among these. */
  readonly #repeated: ReadonlySet<AnyObject>;
  /** The kinds of the changed objects, separated by commas. */
  readonly #kinds: string;
  readonly #question: Question;
  readonly #settings: ReadonlySet<SettingName>;
  readonly #searches = new Map<string, Search>();
  readonly #readers: Readers;

  /** Without `changes`, all subjects of the mesh after the change. `settings` are those of the mesh that are changed. */
  constructor(
    changes: readonly Change[] | undefined,
    { before, after, settings = new Set() }: Sides,
    question: Question = "introduced",
  ) {
    this.#changes = changes;
    this.#question = question;
    this.#settings = settings;
    this.#after = after;
    // An object that is the same on both sides, or that several changes name, is there once.
    this.#changed = [...new Set(changedObjects(changes ?? [], before, after))];
    this.#repeated = repeatedAmong(this.#changed);
    this.#kinds = kindsOf(this.#changed);
    const [first] = changes ?? [];
    this.#own = first === undefined || changes?.length !== 1 ? undefined : [subjectOf(first)];
    this.#readers = new Readers(before, after);
  }

  /**
   * Every object whose result for this rule a change can affect: follows the rule's relations backwards from the changed
   * objects, over any number of relations, on both sides.
   */
  of(rule: Rule): Iterable<AnyObject | undefined> {
    const { subjects, ends } = declared(rule, this.#question);
    const changes = this.#changes;
    if (changes === undefined || (this.#settings.size > 0 && readsSetting(rule, this.#settings)))
      return allSubjects(rule, this.#after);
    // The most frequent case: the rule reads no objects of this kind, or checks only changed objects.
    const isAboutItself = this.#question === "introduced" && rule.onlyOwnChanges === true;
    if (!isAboutItself && isAny(changes, ends))
      return this.#searched(subjects, walkOf(rule, this.#kinds, this.#question));
    if (this.#own === undefined)
      return this.#changed.filter((object) => subjects.has(object.kind) && !this.#repeated.has(object));
    return isAny(changes, subjects) ? this.#own : none;
  }

  #searched(subjects: ReadonlySet<Kind>, walk: Walk): Search {
    let search = this.#searches.get(walk.name);
    if (search === undefined) {
      const begin = { changed: this.#changed, repeated: this.#repeated, readers: this.#readers };
      search = new Search(subjects, walk, begin);
      this.#searches.set(walk.name, search);
    }
    return search;
  }
}

const none: readonly never[] = [];

/** Whether one of the changed objects is of one of these kinds. Asked for every rule, so without a closure. */
function isAny(changes: readonly Change[], kinds: ReadonlySet<Kind>): boolean {
  for (const change of changes) if (kinds.has(subjectOf(change).kind)) return true;
  return false;
}

/** In most reviews there is one. */
function kindsOf(objects: readonly AnyObject[]): string {
  const kind = objects[0]?.kind ?? "";
  return objects.every((object) => object.kind === kind) ? kind : [...new Set(objects.map((one) => one.kind))].join();
}

/** Of two versions of an object the later one. Only of a changed object, there are two. */
function repeatedAmong(changed: readonly AnyObject[]): ReadonlySet<AnyObject> {
  const repeated = new Set<AnyObject>();
  const identities = new Set<string>();
  for (const object of changed) {
    const identity = identityOf(object);
    if (identities.has(identity)) repeated.add(object);
    identities.add(identity);
  }
  return repeated;
}

interface Beginning {
  readonly changed: readonly AnyObject[];
  readonly repeated: ReadonlySet<AnyObject>;
  readonly readers: Readers;
}

/** Of so many objects, each is compared with the others, and its keys are followed without a look at those that were followed before. */
const fewReached = 16;

/**
 * The subjects that relations lead to from the changed objects. They are kept as they are found, for the next rule, and the
 * first ones are evaluated before the search is done. Yields nothing for other objects, so that a long search can pause.
 */
class Search implements Iterable<AnyObject | undefined> {
  readonly #subjects: ReadonlySet<Kind>;
  readonly #walk: Walk;
  readonly #begin: Beginning;
  readonly #reached: AnyObject[];
  /** The same, if they are not few. */
  #reachedSet: Set<AnyObject> | undefined;
  #followed = 0;
  #walked: Map<Index, Set<string>> | undefined;
  readonly #found: AnyObject[] = [];

  constructor(subjects: ReadonlySet<Kind>, walk: Walk, begin: Beginning) {
    this.#subjects = subjects;
    this.#walk = walk;
    this.#begin = begin;
    this.#reached = [...begin.changed];
  }

  [Symbol.iterator](): Iterator<AnyObject | undefined> {
    const found = this.#found;
    let i = 0;
    return {
      next: () => {
        if (i === found.length && !this.#follow()) return { done: true, value: undefined };
        return { done: false, value: i < found.length ? found[i++] : undefined };
      },
    };
  }

  /** Follows the relations of the next object that was reached; false: there is none. */
  #follow(): boolean {
    const object = this.#reached[this.#followed++];
    if (object === undefined) return false;
    const { readers, repeated } = this.#begin;
    const relations = this.#walk.readersOf.get(object.kind) ?? noRelations;
    const isMany = this.#reached.length > fewReached;
    for (const { from, to } of isMany ? readers.withObjects(relations) : relations) {
      const keys = readers.keysOf(object, to);
      this.#read(from, isMany ? newKeys((this.#walked ??= new Map()), from, keys) : keys);
    }
    if (this.#subjects.has(object.kind) && !repeated.has(object)) this.#found.push(object);
    return true;
  }

  #read(from: Index, keys: readonly string[]): void {
    for (const key of keys) for (const reader of this.#begin.readers.at(from, key)) this.#reach(reader);
  }

  #reach(object: AnyObject): void {
    const reached = this.#reached;
    if (reached.length <= fewReached) {
      if (!reached.includes(object)) reached.push(object);
      return;
    }
    const set = (this.#reachedSet ??= new Set(reached));
    if (set.has(object)) return;
    set.add(object);
    reached.push(object);
  }
}
const noRelations: readonly Relation[] = [];

/** The keys that were not followed before: many objects lead to the same readers. */
function newKeys(walked: Map<Index, Set<string>>, from: Index, keys: readonly string[]): readonly string[] {
  const known = walked.get(from);
  if (known === undefined) {
    walked.set(from, new Set(keys));
    return keys;
  }
  const found: string[] = [];
  for (const key of keys)
    if (!known.has(key)) {
      known.add(key);
      found.push(key);
    }
  return found;
}

/** The keys of so many objects are kept: the changed objects, from which all searches begin, come first. */
const mostKept = 256;

/** What the searches of a review share: many rules follow the same relations from the same objects. */
class Readers {
  readonly #mesh: Mesh;
  readonly #before: Mesh;
  readonly #keys = new Map<Index, SmallMap<AnyObject, readonly string[]>>();
  readonly #withObjects = new Map<readonly Relation[], readonly Relation[]>();

  /**
   * The mesh after the changes is enough: whatever it has not, but the one before has, is a changed object, from which the
   * search begins. Of a rule that depends on settings which are different, all subjects are evaluated.
   */
  constructor(before: Mesh, after: Mesh) {
    this.#mesh = after;
    this.#before = before;
  }

  keysOf(object: AnyObject, index: Index): readonly string[] {
    let known = this.#keys.get(index);
    if (known === undefined) this.#keys.set(index, (known = new SmallMap()));
    let keys = known.get(object);
    if (keys === undefined) {
      const found = index.keys(object, this.#mesh.settings);
      const isSame = this.#before.settings === this.#mesh.settings;
      if (isSame) keys = Array.isArray(found) ? (found as string[]) : [...found];
      else keys = [...new Set([...found, ...index.keys(object, this.#before.settings)])];
      if (known.size < mostKept) known.set(object, keys);
    }
    return keys;
  }

  /** Those relations that lead somewhere: most meshes have no object for many of them. */
  withObjects(relations: readonly Relation[]): readonly Relation[] {
    let found = this.#withObjects.get(relations);
    if (found === undefined) {
      found = relations.filter(({ from }) => !this.#mesh.isEmpty(from));
      this.#withObjects.set(relations, found);
    }
    return found;
  }

  at(index: Index, key: string): readonly AnyObject[] {
    return this.#mesh.at(index, key);
  }
}

/** What is changed on either side. A Namespace that is created or deleted can be an implied one on the other side. */
export function changedObjects(changes: readonly Change[], before: Mesh, after: Mesh): readonly AnyObject[] {
  const changed: AnyObject[] = [];
  for (const change of changes) {
    const { kind } = subjectOf(change);
    const key = keyOf(subjectOf(change));
    const sides = [change.old ?? before.find(kind, key), change.object ?? after.find(kind, key)];
    changed.push(...sides.filter((one) => one !== undefined));
  }
  return changed;
}

/** Every object that the rule checks, which a change of mesh settings affects. */
export function* allSubjects(rule: Rule, mesh: Mesh): Iterable<AnyObject> {
  for (const kind of rule.subject) yield* mesh.all(kind);
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
