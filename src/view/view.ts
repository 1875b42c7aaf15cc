import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, Identified, ObjectOf } from "../kube/object.ts";
import type { MeshSettings, SettingName, SettingsWith } from "./settings.ts";

/** Maps objects of one kind to keys that are computed from the object alone. An object without effect has no keys. */
export interface Index<K extends Kind = Kind> {
  readonly kind: K;
  /**
   * Keys depend on no setting that must be declared. If they depend on another one, then only those of objects that count as
   * changed with it, or else the index names it in `dependsOn`.
   */
  keys(object: ObjectOf<K>, settings: MeshSettings): Iterable<string>;
  readonly dependsOn: readonly SettingName[];
}
export const index = <K extends Kind>(
  kind: K,
  keys: (object: ObjectOf<K>, settings: MeshSettings) => Iterable<string>,
  dependsOn: readonly SettingName[] = [],
): Index<K> => ({ kind, keys, dependsOn });

/**
 * Two objects are related if they share a key. Rules follow a relation forwards; the engine follows the same declaration
 * backwards to find the subjects that a change affects.
 */
export interface Relation<
  Name extends string = string,
  From extends Kind = Kind,
  To extends Kind = Kind,
  Sees extends Seen = Seen,
> {
  readonly name: Name;
  readonly from: Index<From>;
  readonly to: Index<To>;
  readonly sees: Sees;
}
/**
 * What a reader sees of the objects that a relation leads to: all of them, or only which ones they are (`identity`). Then an object
 * says what it has to say by its keys, and a change that leaves it the same keys reaches no reader.
 */
export type Seen = "object" | "identity";
export const relation = <Name extends string, From extends Kind, To extends Kind, Sees extends Seen = "object">(
  name: Name,
  from: Index<From>,
  to: Index<To>,
  sees: Sees = "object" as Sees,
): Relation<Name, From, To, Sees> => ({ name, from, to, sees });

/** The read of a setting that must be declared: rules, facts and indexes name those that they depend on. */
export interface SettingRead<S extends SettingName = SettingName> {
  readonly name: S;
  readonly isSetting: true;
}
export const setting = <S extends SettingName>(name: S): SettingRead<S> => ({ name, isSetting: true });

/**
 * A fact: what Istio would do with one object. Rules and other facts declare it in their `reads`, and then depend on the
 * relations that it reads. A view of one side of a change computes it at most once for each object. A fact of a `key` is
 * about all objects with one key of a relation, such as the DestinationRules of a host. A rule may only use it with keys
 * that the relation gives for the object it checks, or else a change does not reach that object.
 */
export interface Fact<Name extends string, K extends FactKind, R extends Reads, T> {
  readonly name: Name;
  readonly of: K;
  readonly reads: readonly R[];
  readonly isForWording?: true;
  readonly reachedBy?: readonly Reads[];
  compute(subject: FactSubject<K>, mesh: MeshView<R>): T;
}
type FactKind = Kind | "key";
type FactSubject<K extends FactKind> = K extends Kind ? ObjectOf<K> : string;
/** A fact of any kind with any reads. */
export interface AnyFact {
  readonly name: string;
  readonly of: FactKind;
  readonly reads: readonly Reads[];
  /** The fact affects the wording of problems only, see forWording. */
  readonly isForWording?: true;
  /** The relations by which changes reach the subjects of the fact, see reachedBy. */
  readonly reachedBy?: readonly Reads[];
  compute(subject: never, mesh: MeshView<Reads>): unknown;
}
export const fact = <Name extends string, K extends FactKind, R extends Reads, T>(
  name: Name,
  of: K,
  reads: readonly R[],
  compute: (subject: FactSubject<K>, mesh: MeshView<R>) => T,
): Fact<Name, K, R, T> => ({ name, of, reads, compute });

/**
 * The same fact for a rule that uses it only for the wording of a problem: its message, its fix or its `onlyWarns`, but not
 * its key and not whether there is a problem. A change of what the fact reads then introduces no problem elsewhere, so no
 * other object is evaluated for it.
 */
export const forWording = <F extends AnyFact>(fact: F): F => ({ ...fact, isForWording: true });

/**
 * The same fact for a rule, whose subjects a change reaches by these relations, or by those that these facts read, instead of those that
 * the fact itself reads. For a fact that
 * composes so many others that the relations of all of them together lead from most objects to most subjects. Who uses it has to
 * show, with arbitrary meshes, that they lead to every subject whose value changes (test/engine/laws.test.ts).
 */
export const reachedBy = <F extends AnyFact>(fact: F, reads: readonly Reads[]): F => ({ ...fact, reachedBy: reads });

/** An entry of the `reads` of a rule or a fact. */
export type Reads = Relation | AnyFact | SettingRead;
type SettingOf<R> = R extends SettingRead<infer S> ? S : never;
type FromOf<R> = R extends Relation<string, infer F, Kind> ? ObjectOf<F> : never;
type ToOf<R> =
  R extends Relation<string, Kind, infer T, infer S> ? (S extends "identity" ? Identified<T> : ObjectOf<T>) : never;
type SubjectOfFact<F> = F extends { readonly of: infer K extends FactKind } ? FactSubject<K> : never;
type ValueOfFact<F> = F extends { compute(...of: never): infer T } ? T : never;

/** The view of a rule or a fact. Reading anything that it does not declare does not compile (`in`: contravariant). */
export interface MeshView<in R extends Reads = never> {
  readonly settings: SettingsWith<SettingOf<R>>;
  /** False: the view has no information about this kind, so the absence of objects has no meaning. */
  knows(kind: Kind): boolean;
  /** Whether the view contains all objects of the kind, so that a missing object does not exist. */
  knowsAll(kind: Kind): boolean;
  related<X extends R & Relation>(relation: X, object: FromOf<X>): readonly ToOf<X>[];
  /** The objects at the `to` end of the relation with these keys: as `related`, without an object at the `from` end. */
  under<X extends R & Relation>(relation: X, keys: Iterable<string>): readonly ToOf<X>[];
  /** Whether `under` finds any object, without visiting them. */
  hasUnder(relation: R & Relation, key: string): boolean;
  /** Whether the relation leads to any object at all, from whatever object. */
  hasAny(relation: R & Relation): boolean;
  get<F extends R & AnyFact>(fact: F, subject: SubjectOfFact<F>): ValueOfFact<F>;
  /** Counts objects that are compared without a look-up, so that the CPU budget of a review limits this work too. */
  visited(objects: number): void;
}

/**
 * How far a view knows the objects of a kind.
 * - `complete`: the view contains all objects; an object that is missing does not exist.
 * - `assumed`: the view probably contains all objects; a finding whose evidence is a missing object warns at most.
 * - `partial`: the view contains some objects; a finding with any evidence of this kind warns at most.
 * - `unknown`: the view has no information; rules that need the kind are skipped.
 */
export type Knowledge = "complete" | "assumed" | "partial" | "unknown";

/** The view as the engine uses it; rules receive it as MeshView<their reads>. */
export interface Mesh extends MeshView<Reads> {
  /** `key` is a result of keyOf. */
  find(kind: Kind, key: string): AnyObject | undefined;
  knowledge(kind: Kind): Knowledge;
  /** The kinds of which the view has no information. */
  unknownKinds(): readonly Kind[];
  /** The objects under one key. */
  at(index: Index, key: string): readonly AnyObject[];
  /** Whether no object has a key of the index; false: perhaps some have. */
  isEmpty(index: Index): boolean;
  lookup(index: Index, keys: Iterable<string>): readonly AnyObject[];
  all<K extends Kind>(kind: K): Iterable<ObjectOf<K>>;
  /**
   * Every kind of which there is an object, and perhaps others. It is the same set as long as its kinds are the same, so what is
   * computed from it can be kept with it.
   */
  readonly kindsPresent: ReadonlySet<Kind>;
  /** The number of objects in a namespace. */
  population(namespace: string): number;
}
