import { keyOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import { sameKinds } from "./kinds-present.ts";
import type { AllMeshSettings } from "./settings.ts";
import type { Index } from "./view.ts";

/** Many objects under one key. The list is the same one until they change, so that values computed from it stay valid. */
class Many {
  readonly #objects: Set<AnyObject>;
  #list: readonly AnyObject[] | undefined;
  constructor(objects: Iterable<AnyObject>) {
    this.#objects = new Set(objects);
  }
  get size(): number {
    return this.#objects.size;
  }
  get list(): readonly AnyObject[] {
    return (this.#list ??= [...this.#objects]);
  }
  add(object: AnyObject): void {
    this.#objects.add(object);
    this.#list = undefined;
  }
  delete(object: AnyObject): void {
    if (this.#objects.delete(object)) this.#list = undefined;
  }
}

/** The objects under one key: one, a few in a list that is never changed, or many. */
type Entry = AnyObject | readonly AnyObject[] | Many;
type Entries = Map<string, Entry>;
const none: readonly never[] = Object.freeze([]);
/** Most keys that several objects share are shared by a few. A list of two takes a seventh of the memory of a set. */
const mostInList = 64;

function listed(found: Entry | undefined): readonly AnyObject[] {
  if (found === undefined) return none;
  if (isList(found)) return found;
  return found instanceof Many ? found.list : [found];
}

const isList = (found: Entry): found is readonly AnyObject[] => Array.isArray(found);

/** The entry with one more object. */
function withOne(there: Entry, object: AnyObject): Entry {
  if (there === object) return object;
  if (there instanceof Many) {
    there.add(object);
    return there;
  }
  const objects = listed(there);
  if (objects.includes(object)) return there;
  const all = [...objects, object];
  return all.length <= mostInList ? all : new Many(all);
}

/** The entry without the object; undefined: nothing is left. Many stay many until none is left. */
function withoutOne(there: Entry, object: AnyObject): Entry | undefined {
  if (there instanceof Many) {
    there.delete(object);
    return there.size === 0 ? undefined : there;
  }
  const objects = listed(there);
  const at = objects.indexOf(object);
  if (at < 0) return there;
  const left = objects.toSpliced(at, 1);
  return left.length > 1 ? left : left[0];
}

/**
 * The same text in one piece. V8 keeps a text that was put together from parts as a tree of them, also after it has joined
 * them, which takes twice the memory in a map; `split` returns the joined text alone.
 */
function inOnePiece(key: string): string {
  const parts = key.split("\u0000");
  return parts.length === 1 ? (parts[0] as string) : key;
}

/** Stores objects by kind and key, and by the keys of every index in use. An index is built when it is first used. */
export class ObjectTable {
  readonly settings: AllMeshSettings;
  /** Only kinds of which there are objects. */
  readonly #objects = new Map<Kind, Map<string, AnyObject>>();
  #kindsPresent: ReadonlySet<Kind> | undefined;
  readonly #indexes = new Map<Index, Entries>();
  readonly #indexesOf = new Map<Kind, Index[]>();

  constructor(settings: AllMeshSettings) {
    this.settings = settings;
  }

  find(kind: Kind, key: string): AnyObject | undefined {
    return this.#objects.get(kind)?.get(key);
  }

  all<K extends Kind>(kind: K): Iterable<ObjectOf<K>> {
    return (this.#objects.get(kind)?.values() ?? none) as Iterable<ObjectOf<K>>;
  }

  count(kind: Kind): number {
    return this.#objects.get(kind)?.size ?? 0;
  }

  get kindsPresent(): ReadonlySet<Kind> {
    return (this.#kindsPresent ??= sameKinds([...this.#objects.keys()]));
  }

  /** The objects under one key. */
  at(index: Index, key: string): readonly AnyObject[] {
    return listed((this.#indexes.get(index) ?? this.#build(index)).get(key));
  }

  isEmpty(index: Index): boolean {
    return (this.#indexes.get(index) ?? this.#build(index)).size === 0;
  }

  lookup(index: Index, keys: Iterable<string>): readonly AnyObject[] {
    const entries = this.#indexes.get(index) ?? this.#build(index);
    // Most look-ups find something under one key at most.
    let first: Entry | undefined;
    let all: Set<AnyObject> | undefined;
    for (const key of keys) {
      const hit = entries.get(key);
      if (hit === undefined) continue;
      if (first === undefined) {
        first = hit;
        continue;
      }
      all ??= new Set(listed(first));
      for (const object of listed(hit)) all.add(object);
    }
    return all === undefined ? listed(first) : [...all];
  }

  /** Adds or replaces an object. Returns the replaced one. */
  set(object: AnyObject): AnyObject | undefined {
    let objects = this.#objects.get(object.kind);
    if (!objects) {
      this.#objects.set(object.kind, (objects = new Map()));
      this.#kindsPresent = undefined;
    }
    const key = keyOf(object);
    const old = objects.get(key);
    if (old) this.#unindex(old);
    objects.set(key, object);
    // Many indexes have the same keys for one object, which they share.
    const keys = new Map<string, string>();
    for (const index of this.#indexesOf.get(object.kind) ?? none)
      this.#enter(this.#entriesOf(index), index, object, keys);
    return old;
  }

  /** Removes an object and returns it. */
  delete(kind: Kind, key: string): AnyObject | undefined {
    const objects = this.#objects.get(kind);
    const old = objects?.get(key);
    if (!objects || !old) return undefined;
    this.#unindex(old);
    objects.delete(key);
    if (objects.size === 0) {
      this.#objects.delete(kind);
      this.#kindsPresent = undefined;
    }
    return old;
  }

  #entriesOf(index: Index): Entries {
    return this.#indexes.get(index) as Entries;
  }

  #build(index: Index): Entries {
    const entries: Entries = new Map();
    for (const object of this.all(index.kind)) this.#enter(entries, index, object);
    this.#indexes.set(index, entries);
    const others = this.#indexesOf.get(index.kind);
    if (others) others.push(index);
    else this.#indexesOf.set(index.kind, [index]);
    return entries;
  }

  /** `keys`: those that other indexes already have for the object. */
  #enter(entries: Entries, index: Index, object: AnyObject, keys?: Map<string, string>): void {
    for (const key of index.keys(object, this.settings)) {
      const there = entries.get(key);
      if (there !== undefined) entries.set(key, withOne(there, object));
      else {
        const own = keys?.get(key) ?? inOnePiece(key);
        keys?.set(own, own);
        entries.set(own, object);
      }
    }
  }

  #unindex(old: AnyObject): void {
    for (const index of this.#indexesOf.get(old.kind) ?? none) {
      const entries = this.#entriesOf(index);
      for (const key of index.keys(old, this.settings)) {
        const there = entries.get(key);
        if (there === undefined) continue;
        const left = withoutOne(there, old);
        if (left === undefined) entries.delete(key);
        else entries.set(key, left);
      }
    }
  }
}
