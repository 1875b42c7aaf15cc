import { identityOf, keyOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import { isFree, type SettingName } from "../view/settings.ts";
import { SmallMap } from "../view/small-map.ts";
import type { Index, Mesh, Relation } from "../view/view.ts";
import {
  leadingTo,
  type Question,
  readsIntents,
  readsSetting,
  type Walk,
  type Ways,
  waysFrom,
} from "./declared-reads.ts";
import type { Rule } from "./rule.ts";
import { type ReadBy, readByOthers } from "./unread-changes.ts";

interface Sides {
  readonly before: Mesh;
  readonly after: Mesh;
  /** The settings of the mesh that are different. */
  readonly settings?: ReadonlySet<SettingName>;
  /** The objects that count in another way because of these. They count as changed. */
  readonly counted?: readonly AnyObject[];
}

/** The subjects of one review, or of one change in an audit. Rules that follow the same relations from the changed objects share one search. */
export class Subjects {
  /** How the changes can concern a rule; undefined: all subjects are asked for. */
  readonly #ways: Ways | undefined;
  readonly #before: Mesh;
  readonly #after: Mesh;
  readonly #present: ReadonlySet<Kind>;
  readonly #changed: readonly AnyObject[];
  /** The subject of the only change; undefined: there are several. */
  readonly #own: readonly AnyObject[] | undefined;
  /** The other versions of changed objects that come earlier among these. */
  readonly #repeated: ReadonlySet<AnyObject>;
  readonly #settings: ReadonlySet<SettingName>;
  readonly #searches = new Map<string, Search>();
  readonly #readers: Readers;
  readonly #question: Question;
  readonly #changes: readonly Change[] | undefined;
  /** Who reads what the changes change, except of the changed objects themselves. */
  #readBy: ReadBy | undefined;

  /** Without `changes`, all subjects of the mesh after the change. */
  constructor(
    changes: readonly Change[] | undefined,
    { before, after, settings = new Set(), counted = [] }: Sides,
    question: Question = "introduced",
  ) {
    // An object that is the same on both sides, or that several changes name, is there once.
    const own = new Set(changedObjects(changes ?? [], before, after));
    this.#changed = [...own.union(new Set(counted))];
    this.#question = question;
    this.#changes = changes;
    this.#repeated = repeatedAmong(own);
    this.#settings = settings;
    // What counts in another way because of a setting is nobody's own change.
    const isAboutOwn = question === "introduced" && ![...settings].some(isFree);
    this.#present = after.kindsPresent;
    this.#ways = changes && waysFrom(kindsOf(this.#changed), { question, isAboutOwn, present: this.#present });
    this.#before = before;
    this.#after = after;
    this.#own = changes?.length === 1 && counted.length === 0 ? changes.map(subjectOf) : undefined;
    this.#readers = new Readers(before, after, versionsAmong(changes, before, after));
  }

  /**
   * Every object whose result for this rule a change can affect: follows the rule's relations backwards from the changed
   * objects, over any number of relations, on both sides.
   */
  of(rule: Rule): Iterable<AnyObject | undefined> {
    if (rule.onlyWith !== undefined && this.#lacks(rule.onlyWith)) return none;
    if (this.#ways === undefined || (this.#settings.size > 0 && readsSetting(rule, this.#settings)))
      return allSubjects(rule, this.#after);
    const way = this.#ways(rule);
    if (way === "none") return none;
    // The most frequent case: the rule reads no objects of this kind, or checks only changed objects.
    if (way === "own") return this.#own ?? this.#ownOf(rule);
    return this.#followed(way, rule);
  }

  #followed(way: Walk, rule: Rule): Iterable<AnyObject | undefined> {
    if (this.#isOwn(rule)) return this.#ownOf(rule);
    return this.#changed.length > mostFollowed ? allSubjects(rule, this.#after) : this.#searched(way);
  }

  /** Whether the changes cannot concern other subjects of a rule, although relations lead to them. */
  #isOwn(rule: Rule): boolean {
    if (this.#question === "state" || rule.definedBy !== undefined) return false;
    this.#readBy ??= readByOthers(this.#changes, this.#before, this.#after);
    return this.#readBy === "none" || (this.#readBy === "intents" && !readsIntents(rule));
  }

  #ownOf({ subject }: Rule): readonly AnyObject[] {
    return this.#changed.filter((object) => subject.includes(object.kind) && !this.#repeated.has(object));
  }

  /** On either side, because what the last object of a kind had caused ends with it. */
  #lacks(onlyWith: NonNullable<Rule["onlyWith"]>): boolean {
    if (typeof onlyWith === "string") return !this.#present.has(onlyWith) && !this.#before.kindsPresent.has(onlyWith);
    // Of a kind that is not known, it has to be said that the rule was not evaluated.
    return onlyWith.every(
      ({ to }) => this.#after.knows(to.kind) && this.#after.isEmpty(to) && this.#before.isEmpty(to),
    );
  }

  #searched(walk: Walk): Search {
    let search = this.#searches.get(walk.name);
    if (search === undefined) {
      const begin = { changed: this.#changed, repeated: this.#repeated, readers: this.#readers };
      search = new Search(walk, begin);
      this.#searches.set(walk.name, search);
    }
    return search;
  }
}

const none: readonly never[] = [];

/** From more changed objects, most subjects are reached, and to follow all their relations costs more than to evaluate all. */
const mostFollowed = 1_000;

/** In most reviews there is one. */
function kindsOf(objects: readonly AnyObject[]): readonly Kind[] {
  const [first] = objects;
  if (first === undefined) return none;
  return objects.every(({ kind }) => kind === first.kind) ? [first.kind] : [...new Set(objects.map((one) => one.kind))];
}

/** Of two versions of an object the later one. Only of a changed object, there are two. */
function repeatedAmong(changed: Iterable<AnyObject>): ReadonlySet<AnyObject> {
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
  readonly #walk: Walk;
  readonly #begin: Beginning;
  readonly #reached: AnyObject[];
  /** The same, if they are not few. */
  #reachedSet: Set<AnyObject> | undefined;
  /** Those of the walk that lead to a subject, once many objects are reached. */
  #readersOf: Walk["readersOf"] | undefined;
  #followed = 0;
  #walked: Map<Index, Set<string>> | undefined;
  readonly #found: AnyObject[] = [];

  constructor(walk: Walk, begin: Beginning) {
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
    if (repeated.has(object)) {
      // The readers of another version that was followed before are those of both.
      if (!readers.hasOther(object)) this.#followFrom(object);
      return true;
    }
    this.#followFrom(object);
    if (this.#walk.subjects.has(object.kind)) this.#found.push(object);
    return true;
  }

  #followFrom(object: AnyObject): void {
    if (this.#reached.length > fewReached) {
      this.#followOfMany(object);
      return;
    }
    const { readers } = this.#begin;
    for (const relation of this.#walk.readersOf.get(object.kind) ?? noRelations)
      for (const reader of readers.of(relation, object)) this.#reach(reader);
  }

  #followOfMany(object: AnyObject): void {
    const { readers } = this.#begin;
    const walked = (this.#walked ??= new Map());
    for (const relation of this.#leading().get(object.kind) ?? noRelations)
      this.#read(relation.from, newKeys(walked, relation.from, readers.keysFrom(relation, object)));
  }

  /** The relations that lead to a subject by objects that are there. Most meshes have no object for many of them. */
  #leading(): Walk["readersOf"] {
    return (this.#readersOf ??= this.#begin.readers.leading(this.#walk));
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
  /** Whether the settings are the same on both sides. */
  readonly #isSame: boolean;
  /** Of changed objects that are on both sides, the one on the other side. */
  readonly #versions: Versions;
  readonly #keys = new Map<Index, SmallMap<AnyObject, readonly string[]>>();
  readonly #found = new Map<Relation, SmallMap<AnyObject, readonly AnyObject[]>>();

  /**
   * The mesh after the changes is enough: whatever it has not, but the one before has, is a changed object, from which the
   * search begins. Only if settings are different, other objects can have lost a key.
   */
  constructor(before: Mesh, after: Mesh, versions: Versions) {
    this.#mesh = after;
    this.#before = before;
    this.#isSame = before.settings === after.settings;
    this.#versions = versions;
  }

  /** Whether the object is followed together with the one on the other side. */
  hasOther(object: AnyObject): boolean {
    return this.#versions.get(object) !== undefined;
  }

  /** The keys of an object, and of the one on the other side, under which readers are found that can see a difference. */
  keysFrom({ to, sees }: Relation, object: AnyObject): readonly string[] {
    const keys = this.keysOf(object, to);
    const other = this.#versions.get(object);
    if (other === undefined) return keys;
    const others = this.keysOf(other, to);
    if (isSameList(keys, others)) return sees === "identity" ? none : keys;
    const [one, two] = [new Set(keys), new Set(others)];
    return [...(sees === "identity" ? one.symmetricDifference(two) : one.union(two))];
  }

  keysOf(object: AnyObject, index: Index): readonly string[] {
    let known = this.#keys.get(index);
    if (known === undefined) this.#keys.set(index, (known = new SmallMap()));
    let keys = known.get(object);
    if (keys === undefined) {
      const found = index.keys(object, this.#mesh.settings);
      if (this.#isSame) keys = Array.isArray(found) ? (found as string[]) : [...found];
      else keys = [...new Set([...found, ...index.keys(object, this.#before.settings)])];
      if (known.size < mostKept) known.set(object, keys);
    }
    return keys;
  }

  /** The objects that read this one by a relation. */
  of(relation: Relation, object: AnyObject): readonly AnyObject[] {
    let known = this.#found.get(relation);
    if (known === undefined) this.#found.set(relation, (known = new SmallMap()));
    let found = known.get(object);
    if (found === undefined) {
      found = this.#find(relation, object);
      if (known.size < mostKept) known.set(object, found);
    }
    return found;
  }

  #find(relation: Relation, object: AnyObject): readonly AnyObject[] {
    const { from } = relation;
    const isAlsoBefore = from.dependsOn.length > 0 && !this.#isSame;
    if (this.#mesh.isEmpty(from) && !isAlsoBefore) return none;
    const keys = this.keysFrom(relation, object);
    if (keys.length === 0) return none;
    const after = this.#mesh.lookup(from, keys);
    return isAlsoBefore ? [...after, ...this.#before.lookup(from, keys)] : after;
  }

  /** The relations of a walk that lead to one of its subjects by relations with objects. */
  leading({ readersOf, subjects }: Walk): Walk["readersOf"] {
    return leadingTo(
      subjects,
      [...readersOf.values()].flat().filter(({ from }) => !this.#mesh.isEmpty(from)),
    );
  }

  at(index: Index, key: string): readonly AnyObject[] {
    const after = this.#mesh.at(index, key);
    return index.dependsOn.length === 0 || this.#isSame ? after : [...after, ...this.#before.at(index, key)];
  }
}

type Versions = SmallMap<AnyObject, AnyObject>;

/**
 * By each changed object the other version of it, if it is there on both sides and only one change names it. With other settings,
 * an object can have other keys although it is the same.
 */
function versionsAmong(changes: readonly Change[] | undefined, before: Mesh, after: Mesh): Versions {
  const versions: Versions = new SmallMap();
  if (changes === undefined || before.settings !== after.settings) return versions;
  const isNamedOnce =
    changes.length === 1 || new Set(changes.map((one) => identityOf(subjectOf(one)))).size === changes.length;
  if (!isNamedOnce) return versions;
  for (const change of changes) {
    const [old, now] = changedObjects([change], before, after);
    if (old === undefined || now === undefined || old === now) continue;
    versions.set(old, now);
    versions.set(now, old);
  }
  return versions;
}

const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
  a === b || (a.length === b.length && a.every((key, i) => key === b[i]));

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
