import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import { type AllMeshSettings, isFree, type SettingName } from "./settings.ts";
import { SmallMap } from "./small-map.ts";
import type { AnyFact, Index, Knowledge, Mesh, Reads, Relation } from "./view.ts";

/**
 * One side of a change: a mesh that does not change during the evaluation, so each fact is computed at most once for each
 * object. `spend` is called with the number of visited objects, and may throw to stop the evaluation.
 */
export function sideOf(mesh: Mesh, spend: (objects: number) => void = () => {}): Mesh {
  return mesh instanceof Side ? mesh : new Side(mesh, spend);
}

/** What is different on the two sides of a change. */
export interface Difference {
  /** The kinds of which both sides have other objects. */
  readonly kinds: ReadonlySet<Kind>;
  readonly settings: ReadonlySet<SettingName>;
}

/**
 * The side after a change. Facts that read nothing of what is different are the same on both sides, and are computed once.
 */
export function sideBeside(
  other: Mesh,
  mesh: Mesh,
  difference: Difference,
  spend: (objects: number) => void = () => {},
): Mesh {
  const { kinds, settings } = difference;
  // What a fact reads of the others, it does not say.
  if (!(other instanceof Side) || [...settings].some(isFree)) return sideOf(mesh, spend);
  return new Side(mesh, spend, { side: other, kinds, settings });
}

/** What a fact reads, through other facts too, with the kind of its subject. */
interface ReadBy {
  readonly kinds: ReadonlySet<Kind>;
  readonly settings: ReadonlySet<SettingName>;
}
const readBy = new WeakMap<AnyFact, ReadBy>();

function whatIsReadBy(fact: AnyFact): ReadBy {
  let known = readBy.get(fact);
  if (known === undefined) {
    const all = fact.reads.map(readThrough);
    known = {
      kinds: new Set([...(fact.of === "key" ? [] : [fact.of]), ...all.flatMap(({ kinds }) => [...kinds])]),
      settings: new Set(all.flatMap(({ settings }) => [...settings])),
    };
    readBy.set(fact, known);
  }
  return known;
}

function readThrough(read: Reads): ReadBy {
  if ("compute" in read) return whatIsReadBy(read);
  if ("isSetting" in read) return { kinds: new Set(), settings: new Set([read.name]) };
  // Only the objects at the `to` end are read: those at the other end are the subject, or come from another read.
  return { kinds: new Set([read.to.kind]), settings: new Set() };
}

interface Beside extends ReadBy {
  readonly side: Side;
}

/** Stands for undefined, so that one look-up tells whether a value is known. */
const noValue = Symbol("no value");

class Side implements Mesh {
  readonly settings: AllMeshSettings;
  readonly #mesh: Mesh;
  readonly #spend: (objects: number) => void;
  /** By the function that computes them, which a fact shares with those that differ from it in what reaches them (`reachedBy`). */
  readonly #facts = new Map<AnyFact["compute"], Map<AnyObject | string, unknown>>();
  readonly #lists = new Map<Index, SmallMap<string, readonly AnyObject[]>>();
  readonly #beside: Beside | undefined;

  constructor(mesh: Mesh, spend: (objects: number) => void, beside?: Beside) {
    this.#beside = beside;
    this.settings = mesh.settings;
    this.#mesh = mesh;
    this.#spend = spend;
  }

  get(fact: AnyFact, subject: AnyObject | string): never {
    const { compute } = fact;
    let values = this.#facts.get(compute);
    if (values === undefined) this.#facts.set(compute, (values = this.#valuesOf(fact)));
    const known = values.get(subject);
    if (known !== undefined) return (known === noValue ? undefined : known) as never;
    this.#spend(1);
    const value = compute(subject as never, this);
    values.set(subject, value === undefined ? noValue : value);
    return value as never;
  }
  /** Those of the other side, if the change makes no difference. */
  #valuesOf(fact: AnyFact): Map<AnyObject | string, unknown> {
    if (this.#beside === undefined) return new Map();
    const { side, kinds, settings } = this.#beside;
    const reads = whatIsReadBy(fact);
    if (!reads.kinds.isDisjointFrom(kinds) || !reads.settings.isDisjointFrom(settings)) return new Map();
    let values = side.#facts.get(fact.compute);
    if (values === undefined) side.#facts.set(fact.compute, (values = new Map()));
    return values;
  }
  visited(objects: number): void {
    this.#spend(objects);
  }
  under(relation: Relation, keys: Iterable<string>): readonly never[] {
    return this.lookup(relation.to, keys) as readonly never[];
  }
  hasUnder(relation: Relation, key: string): boolean {
    this.#spend(1);
    return this.#listAt(relation.to, key).length > 0;
  }
  hasAny(relation: Relation): boolean {
    return !this.#mesh.isEmpty(relation.to);
  }
  related(relation: Relation, object: AnyObject): readonly never[] {
    return this.lookup(relation.to, relation.from.keys(object, this.settings)) as readonly never[];
  }
  at(index: Index, key: string): readonly AnyObject[] {
    const found = this.#listAt(index, key);
    this.#spend(1 + found.length);
    return found;
  }
  isEmpty(index: Index): boolean {
    return this.#mesh.isEmpty(index);
  }
  lookup(index: Index, keys: Iterable<string>): readonly AnyObject[] {
    const wanted = Array.isArray(keys) ? (keys as readonly string[]) : [...keys];
    if (wanted.length === 1) return this.at(index, wanted[0] as string);
    const found = this.#mesh.lookup(index, wanted);
    // Keys count, because an object can have very many.
    this.#spend(wanted.length + found.length);
    return found;
  }
  /**
   * A list is created once for each key, and for both sides of a change that makes no difference. Keys without objects are not stored: a
   * host has many of them.
   */
  #listAt(index: Index, key: string): readonly AnyObject[] {
    const beside = this.#beside;
    if (beside !== undefined && beside.settings.size === 0 && !beside.kinds.has(index.kind))
      return beside.side.#listAt(index, key);
    const lists = this.#lists.get(index);
    const known = lists?.get(key);
    if (known !== undefined) return known;
    const found = this.#mesh.at(index, key);
    if (found.length === 0) return found;
    if (lists !== undefined) lists.set(key, found);
    else {
      const first = new SmallMap<string, readonly AnyObject[]>();
      first.set(key, found);
      this.#lists.set(index, first);
    }
    return found;
  }
  knowledge(kind: Kind): Knowledge {
    return this.#mesh.knowledge(kind);
  }
  unknownKinds(): readonly Kind[] {
    return this.#mesh.unknownKinds();
  }
  knows(kind: Kind): boolean {
    return this.#mesh.knows(kind);
  }
  knowsAll(kind: Kind): boolean {
    return this.#mesh.knowsAll(kind);
  }
  find(kind: Kind, key: string): AnyObject | undefined {
    return this.#mesh.find(kind, key);
  }
  all<K extends Kind>(kind: K): Iterable<ObjectOf<K>> {
    return this.#mesh.all(kind);
  }
  get kindsPresent(): ReadonlySet<Kind> {
    return this.#mesh.kindsPresent;
  }
  population(namespace: string): number {
    return this.#mesh.population(namespace);
  }
}
