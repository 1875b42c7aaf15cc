import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";
import type { Mesh, MeshView, Reads } from "../view/view.ts";
import type { Witness } from "./evidence.ts";

/** What a finding of a rule does: stop the change, say something, be recorded, nothing. */
export type Mode = "deny" | "warn" | "audit" | "off";

/** What a rule yields. Rule, subject and key are what a finding is known by. */
export interface Problem {
  /** In the raw subject; `[]` is the object as a whole. */
  readonly at: Path;
  /** Names the defect and what it affects; never a position, a count or a list of others. One line. */
  readonly message: string;
  /** Stays the same while it is the same problem; default: the message. */
  readonly key?: string;
  /** Never weighs more than this, whatever the policy says: the effect is uncertain or lesser. */
  readonly atMost?: "warn";
  /** What to do in this case, where the rule's own fix is too general. */
  readonly fix?: string;
  /** Other objects worth looking at. */
  readonly related?: readonly AnyObject[];
  /** Other objects, present or absent, that make it true: the problem is relational, and they are read again before a denial. */
  readonly restsOn?: readonly Witness[];
}

/** A parameter of a rule: its default is its type. */
export interface Parameter<T extends ParameterValue = ParameterValue> {
  readonly summary: string;
  readonly default: T;
}
export type ParameterValue = number | string | boolean | readonly string[];
export type Parameters = Readonly<Record<string, Parameter>>;
type Widened<T> = T extends number
  ? number
  : T extends boolean
    ? boolean
    : T extends string
      ? string
      : readonly string[];
export type ValuesOf<P extends Parameters> = { readonly [K in keyof P]: Widened<P[K]["default"]> };

interface Metadata<S extends Kind | "*", R extends Reads, P extends Parameters> {
  /** `<subject>-<what is wrong>`; for ever. */
  readonly id: string;
  /** The kind of object that the rule judges; `*`: any. */
  readonly subject: S;
  readonly reads: readonly R[];
  /** Kinds that it can do without: where they are unknown it still runs. */
  readonly worksWithout?: readonly Kind[];
  /** In the profile `baseline`. */
  readonly mode: Mode;
  /** Counts only where the subject's namespace is protected. */
  readonly onlyProtected?: true;
  /** In the profile `baseline`, where the subject's namespace is protected; default: `mode`. */
  readonly protectedMode?: Mode;
  /** Counts only for changes of the subject itself: what others bring about is for another rule to say. */
  readonly onlyOwnChanges?: true;
  /** Ids of rules that have nothing to add in a namespace where this one finds something at least as severe. */
  readonly covers?: readonly string[];
  readonly tags?: readonly string[];
  readonly parameters?: P;
  /** One sentence: the defect. */
  readonly summary: string;
  /** What happens to requests, with the Istio source of it. */
  readonly why: string;
  /** What to do. */
  readonly fix: string;
}

/** An object and the mesh around it. */
export interface Side<S extends Kind | "*", R extends Reads> {
  readonly object: SubjectOf<S>;
  readonly mesh: MeshView<R>;
}
export type SubjectOf<S extends Kind | "*"> = S extends Kind ? ObjectOf<S> : AnyObject;

/** Judges what is: the same in admission, check and audit. */
export interface StateRule<S extends Kind | "*", R extends Reads, P extends Parameters> extends Metadata<S, R, P> {
  check(object: SubjectOf<S>, mesh: MeshView<R>, parameters: ValuesOf<P>): Iterable<Problem>;
  /** Whether the change that introduces a problem leads away from harm all the same, as a rollback does: then it warns at most. */
  isRollback?(before: SubjectOf<S>, after: SubjectOf<S>, problem: Problem, parameters: ValuesOf<P>): boolean;
}
/** Compares an object before and after a change; everything it yields is introduced. It does not run where there is no before. */
export interface StepRule<S extends Kind | "*", R extends Reads, P extends Parameters> extends Metadata<S, R, P> {
  compare(before: Side<S, R>, after: Side<S, R>, parameters: ValuesOf<P>): Iterable<Problem>;
}

/** A rule as the engine holds it. */
export interface Rule extends Metadata<Kind | "*", Reads, Parameters> {
  readonly parameters: Parameters;
  readonly worksWithout: readonly Kind[];
  readonly tags: readonly string[];
  check?(object: AnyObject, mesh: Mesh, parameters: Readonly<Record<string, ParameterValue>>): Iterable<Problem>;
  isRollback?(
    before: AnyObject,
    after: AnyObject,
    problem: Problem,
    parameters: Readonly<Record<string, ParameterValue>>,
  ): boolean;
  compare?(
    before: { readonly object: AnyObject; readonly mesh: Mesh },
    after: { readonly object: AnyObject; readonly mesh: Mesh },
    parameters: Readonly<Record<string, ParameterValue>>,
  ): Iterable<Problem>;
}

/** The compiler holds a rule to what it declares: reading anything else of the mesh is a type error. */
export function defineRule<
  S extends Kind | "*",
  const R extends Reads = never,
  P extends Parameters = Record<never, never>,
>(rule: StateRule<S, R, P> | StepRule<S, R, P>): Rule {
  return { parameters: {}, worksWithout: [], tags: [], ...rule } as unknown as Rule;
}

/** The defaults of a rule's parameters. */
export const defaultsOf = (rule: Rule): Readonly<Record<string, ParameterValue>> =>
  Object.fromEntries(Object.entries(rule.parameters).map(([name, parameter]) => [name, parameter.default]));
