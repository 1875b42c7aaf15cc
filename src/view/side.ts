import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import type { MeshSettings } from "./settings.ts";
import { SmallMap } from "./small-map.ts";
import type { AnyFact, Index, Knowledge, Mesh, Relation } from "./view.ts";

/**
 * One side of a change: a mesh that does not change during the evaluation, so each fact is computed at most once for each
 * object. `spend` is called with the number of visited objects, and may throw to stop the evaluation.
 */
export function sideOf(mesh: Mesh, spend: (objects: number) => void = () => {}): Mesh {
  return mesh instanceof Side ? mesh : new Side(mesh, spend);
}

/**
 * The side after a change of objects of some kinds, with the same settings as the other side. Facts that read no such objects are
 * the same on both sides, and are computed once.
 */
export function sideBeside(
  other: Mesh,
  mesh: Mesh,
  changed: ReadonlySet<Kind>,
  spend: (objects: number) => void = () => {},
): Mesh {
  return other instanceof Side ? new Side(mesh, spend, { side: other, changed }) : new Side(mesh, spend);
}

const readBy = new WeakMap<AnyFact, ReadonlySet<Kind>>();

/** Every kind that a fact reads, through other facts too, and the kind of its subject. */
function kindsReadBy(fact: AnyFact): ReadonlySet<Kind> {
  let kinds = readBy.get(fact);
  if (kinds === undefined) {
    const found = new Set<Kind>(fact.of === "key" ? [] : [fact.of]);
    for (const read of fact.reads)
      for (const kind of "compute" in read ? kindsReadBy(read) : [read.from.kind, read.to.kind]) found.add(kind);
    readBy.set(fact, (kinds = found));
  }
  return kinds;
}

class Side implements Mesh {
  readonly settings: MeshSettings;
  readonly #mesh: Mesh;
  readonly #spend: (objects: number) => void;
  readonly #facts = new Map<AnyFact, Map<AnyObject | string, unknown>>();
  readonly #lists = new Map<Index, SmallMap<string, readonly AnyObject[]>>();
  readonly #beside: { readonly side: Side; readonly changed: ReadonlySet<Kind> } | undefined;

  constructor(mesh: Mesh, spend: (objects: number) => void, beside?: { side: Side; changed: ReadonlySet<Kind> }) {
    this.#beside = beside;
    this.settings = mesh.settings;
    this.#mesh = mesh;
    this.#spend = spend;
  }

  get(fact: AnyFact, subject: AnyObject | string): never {
    let values = this.#facts.get(fact);
    if (values === undefined) this.#facts.set(fact, (values = this.#valuesOf(fact)));
    const known = values.get(subject);
    if (known !== undefined || values.has(subject)) return known as never;
    this.#spend(1);
    const value = fact.compute(subject as never, this);
    values.set(subject, value);
    return value as never;
  }
  /** Those of the other side, if the change makes no difference. */
  #valuesOf(fact: AnyFact): Map<AnyObject | string, unknown> {
    if (this.#beside === undefined || !kindsReadBy(fact).isDisjointFrom(this.#beside.changed)) return new Map();
    const { side } = this.#beside;
    let values = side.#facts.get(fact);
    if (values === undefined) side.#facts.set(fact, (values = new Map()));
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
  /** A list is created once for each key. Keys without objects are not stored: a host has many of them. */
  #listAt(index: Index, key: string): readonly AnyObject[] {
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
  population(namespace: string): number {
    return this.#mesh.population(namespace);
  }
}
