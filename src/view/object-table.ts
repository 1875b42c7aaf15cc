import { keyOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import type { AllMeshSettings } from "./settings.ts";
import type { Index } from "./view.ts";

type Entries = Map<string, AnyObject | Set<AnyObject>>;
const none: readonly never[] = Object.freeze([]);

function listed(found: AnyObject | ReadonlySet<AnyObject> | undefined): readonly AnyObject[] {
  if (found === undefined) return none;
  return found instanceof Set ? [...found] : [found as AnyObject];
}

/** Stores objects by kind and key, and by the keys of every index in use. An index is built when it is first used. */
export class ObjectTable {
  readonly settings: AllMeshSettings;
  readonly #objects = new Map<Kind, Map<string, AnyObject>>();
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
    let first: AnyObject | ReadonlySet<AnyObject> | undefined;
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
    if (!objects) this.#objects.set(object.kind, (objects = new Map()));
    const key = keyOf(object);
    const old = objects.get(key);
    if (old) this.#unindex(old);
    objects.set(key, object);
    for (const index of this.#indexesOf.get(object.kind) ?? none) this.#enter(this.#entriesOf(index), index, object);
    return old;
  }

  /** Removes an object and returns it. */
  delete(kind: Kind, key: string): AnyObject | undefined {
    const old = this.find(kind, key);
    if (!old) return undefined;
    this.#unindex(old);
    this.#objects.get(kind)?.delete(key);
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

  #enter(entries: Entries, index: Index, object: AnyObject): void {
    for (const key of index.keys(object, this.settings)) {
      const there = entries.get(key);
      if (there === undefined) entries.set(key, object);
      else if (there instanceof Set) there.add(object);
      else if (there !== object) entries.set(key, new Set([there, object]));
    }
  }

  #unindex(old: AnyObject): void {
    for (const index of this.#indexesOf.get(old.kind) ?? none) {
      const entries = this.#entriesOf(index);
      for (const key of index.keys(old, this.settings)) {
        const there = entries.get(key);
        if (there === old) entries.delete(key);
        else if (there instanceof Set && there.delete(old) && there.size === 0) entries.delete(key);
      }
    }
  }
}
