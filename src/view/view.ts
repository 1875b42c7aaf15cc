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

/**
 * What Istio would do with one object, as a value that rules and other facts declare: they then read what it reads. A view
 * of one side of a change computes it once for each object, whoever asks.
 */
export interface Fact<Name extends string, K extends Kind, R extends Reads, T> {
  readonly name: Name;
  readonly of: K;
  readonly reads: readonly R[];
  compute(object: ObjectOf<K>, mesh: MeshView<R>): T;
}
/** Of any kind, reading anything. */
export interface AnyFact {
  readonly name: string;
  readonly of: Kind;
  readonly reads: readonly Reads[];
  compute(object: AnyObject, mesh: MeshView<Reads>): unknown;
}
export const fact = <Name extends string, K extends Kind, R extends Reads, T>(
  name: Name,
  of: K,
  reads: readonly R[],
  compute: (object: ObjectOf<K>, mesh: MeshView<R>) => T,
): Fact<Name, K, R, T> => ({ name, of, reads, compute });

/** What a rule or a fact may declare that it reads. */
export type Reads = Relation | AnyFact;
type FromOf<R> = R extends Relation<string, infer F, Kind> ? ObjectOf<F> : never;
type ToOf<R> = R extends Relation<string, Kind, infer T> ? ObjectOf<T> : never;
type SubjectOfFact<F> = F extends { readonly of: infer K extends Kind } ? ObjectOf<K> : never;
type ValueOfFact<F> = F extends { compute(...of: never): infer T } ? T : never;

/** What a rule or a fact sees: what it declares, and nothing else compiles (`in`: contravariant in what is declared). */
export interface MeshView<in R extends Reads = never> {
  readonly settings: MeshSettings;
  /** False: the view cannot supply this kind at all, so that finding none of it says nothing. */
  knows(kind: Kind): boolean;
  /** Whether all objects of the kind are there: what is missing does not exist. */
  knowsAll(kind: Kind): boolean;
  related<X extends R & Relation>(relation: X, object: FromOf<X>): readonly ToOf<X>[];
  get<F extends R & AnyFact>(fact: F, object: SubjectOfFact<F>): ValueOfFact<F>;
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
  knowledge(kind: Kind): Knowledge;
  lookup(index: Index, keys: Iterable<string>): readonly AnyObject[];
  all<K extends Kind>(kind: K): Iterable<ObjectOf<K>>;
  /** How many objects live in a namespace. */
  population(namespace: string): number;
}
