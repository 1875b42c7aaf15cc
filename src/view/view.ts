import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import type { MeshSettings } from "./settings.ts";

/** Objects of one kind under keys computed from the object alone. An object that cannot matter has no keys. */
export interface Index<K extends Kind = Kind> {
  readonly kind: K;
  keys(object: ObjectOf<K>, settings: MeshSettings): Iterable<string>;
}
export const index = <K extends Kind>(kind: K, keys: Index<K>["keys"]): Index<K> => ({ kind, keys });

/**
 * Two objects are related when they share a key. Rules read a relation forwards; the engine reads the same declaration
 * backwards to find whom a change concerns.
 */
export interface Relation<Name extends string = string, From extends Kind = Kind, To extends Kind = Kind> {
  readonly name: Name;
  readonly from: Index<From>;
  readonly to: Index<To>;
}
export const relation = <Name extends string, From extends Kind, To extends Kind>(
  name: Name,
  from: Index<From>,
  to: Index<To>,
): Relation<Name, From, To> => ({ name, from, to });

/** What a rule may declare that it reads: a relation (narrowed) or a whole kind (every change of it re-judges every subject). */
export type Reads = Relation | Kind;
type FromOf<R> = R extends Relation<string, infer F, Kind> ? ObjectOf<F> : never;
type ToOf<R> = R extends Relation<string, Kind, infer T> ? ObjectOf<T> : never;

/** What a rule or a fact sees: what it declares, and nothing else compiles (`in`: contravariant in what is declared). */
export interface MeshView<in R extends Reads = never> {
  readonly settings: MeshSettings;
  /** False: the view cannot supply this kind at all, so that finding none of it says nothing. */
  knows(kind: Kind): boolean;
  knowledge(kind: Kind): Knowledge;
  related<X extends R & Relation>(relation: X, object: FromOf<X>): readonly ToOf<X>[];
  all<K extends R & Kind>(kind: K): Iterable<ObjectOf<K>>;
}

/**
 * How far a view can be trusted for a kind.
 * - `complete`: all objects are there; what is missing does not exist.
 * - `assumed`: probably all are there; what rests on a missing one is worth a warning, not a denial.
 * - `partial`: some are there; what rests on any of them is worth a warning.
 * - `unknown`: nothing is known; rules that need the kind are skipped.
 */
export type Knowledge = "complete" | "assumed" | "partial" | "unknown";

/** What the engine sees of a view; rules get it as MeshView<their reads>. */
export interface Mesh extends MeshView<Reads> {
  /** `key` as keyOf gives it. */
  find(kind: Kind, key: string): AnyObject | undefined;
  lookup(index: Index, keys: Iterable<string>): readonly AnyObject[];
  all<K extends Kind>(kind: K): Iterable<ObjectOf<K>>;
  /** How many objects live in a namespace. */
  population(namespace: string): number;
}
