import type { FieldUse } from "../kube/kept-fields.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";
import type { Requester } from "../kube/requester.ts";
import type { OwnedHosts } from "../mesh/traffic/host-ownership.ts";
import type { Change } from "../view/overlay.ts";
import type { MeshSettings } from "../view/settings.ts";
import type { Mesh, MeshView, Reads, Relation } from "../view/view.ts";
import type { Evidence } from "./evidence.ts";
import type { Incident } from "./incident.ts";

/** The effect of a finding: it denies the change, warns, is only recorded, or has no effect. */
export type Mode = "deny" | "warn" | "audit" | "off";

/** Two modes where it matters whether a policy protects the subject's namespace. */
export interface ProtectionModes {
  readonly protected: Mode;
  /** `off` is final: no policy can turn the rule on where nothing is protected. */
  readonly elsewhere: Mode;
}

/** A problem that a rule reports. Rule, subject and key identify a finding. */
export interface Problem {
  /** The path in the raw subject; `[]` is the object as a whole. */
  readonly at: Path;
  /**
   * Names the defect and what it affects; never a position, a count or a list of other objects. One line. A function, with a
   * `key`, where an object can have thousands of such problems, of which most are counted and not shown.
   */
  readonly message: string | (() => string);
  /** Stays the same while it is the same problem; default: the message. */
  readonly key?: string;
  /**
   * What is not known, and makes the problem a guess: `the labels of Namespace shop`. A report on files without a mesh lists
   * guesses once for each rule, instead of one warning for each.
   */
  readonly guess?: string;
  /**
   * `ambient`: that something is ambient; where anything is, the problem is reported as others are. `partial`: that what a view
   * does not have is not there, though the view is known to lack objects of the kind; only reports on files name such a rule.
   */
  readonly guessOf?: "ambient" | "partial";
  /**
   * The keys of other problems that this one stands for, such as those of clients that the message does not name. If one of
   * them is new, the change introduces the problem.
   */
  readonly alsoFor?: readonly string[];
  /**
   * A key by which a problem before the change may stand, in its `alsoFor`, for all problems like this one; with an `alsoFor` of its
   * own, like those that it stands for.
   */
  readonly like?: string;
  /**
   * Why the problem is never more than a warning, whatever the policy says: the rest of a sentence that begins with "because". Its effect
   * is uncertain or limited.
   */
  readonly onlyWarns?: string;
  /**
   * Why the problem, which is one, is no finding: the rest of a sentence that begins with "because". Nobody is there whom it could concern,
   * and whether somebody is decides nothing else, so that a rule may read it for the wording alone.
   */
  readonly harmsNobody?: string;
  /** The fix for this case, if the fix of the rule is too general. A function where the message is one. */
  readonly fix?: string | (() => string);
  /** Other objects that the report lists. */
  readonly related?: readonly AnyObject[];
  /** Other objects, present or absent, that make the problem true. They are read again before a denial. */
  readonly evidence?: readonly Evidence[];
  /** A finding about the same topic that includes this problem and is at least as severe replaces it (ruling.ts). */
  readonly topic?: string;
  /** Only for problems that a comparison yields: the change did not introduce it. */
  readonly existed?: true;
  /**
   * It is no problem as the mesh is, and never a finding. But a change that makes it one takes nothing from anybody, so that those in its
   * `alsoFor` are not introduced.
   */
  readonly latent?: true;
  /** It is not known whether there is a problem, because the rule failed: `onError` of the policy decides. */
  readonly undecided?: "error";
  /** Findings of other rules that include this problem: an exception for one of them accepts this problem too. */
  readonly acceptedWith?: readonly RuleAndObject[];
}

/** A rule, by its id, and an object that it checks. */
export interface RuleAndObject {
  readonly rule: string;
  readonly object: AnyObject;
}

/** A parameter of a rule: its default is its type. */
export interface Parameter<T extends ParameterValue = ParameterValue> {
  readonly summary: string;
  readonly default: T;
}
export type ParameterValue = number | string | boolean | readonly string[] | readonly OwnedHosts[] | Requester;
export type Parameters = Readonly<Record<string, Parameter>>;
type Widened<T> = T extends number
  ? number
  : T extends boolean
    ? boolean
    : T extends string
      ? string
      : T extends readonly string[]
        ? readonly string[]
        : readonly OwnedHosts[];
export type ValuesOf<P extends Parameters> = { readonly [K in keyof P]: Widened<P[K]["default"]> };

/**
 * A rule in Kubernetes' CEL, for a ValidatingAdmissionPolicy. It sees the raw `object`, and `oldObject` if the rule compares;
 * `params` are the parameters of the rule, `settings` has `rootNamespace` and `revisions` of the mesh.
 */
export interface CelForm {
  /** A list with a value for each problem, which is the same value as long as it is the same problem. */
  readonly problems: string;
  /** What is a problem in this form too, and at most a warning of the rule, which reads other objects. To be read after "also". */
  readonly stricter?: string;
  /** Of a problem `problem`: whether the change reduces harm, as `isRollback` of the rule says. It sees both objects. */
  readonly isRollback?: string;
}

interface Metadata<S extends Kind, R extends Reads, P extends Parameters, I extends Incident = never> {
  /** `<subject>-<what is wrong>`; never changes and is never used again. */
  readonly id: string;
  /** The kinds of objects that the rule checks. */
  readonly subject: S | readonly S[];
  /** Relations and facts. Reading anything else of the mesh is a type error. */
  readonly reads: readonly R[];
  /** Kinds that the rule does not require: it also runs if they are unknown. Namespaces are always known, at least by name. */
  readonly worksWithout?: readonly Kind[];
  /** A kind that the rule does not require for the subjects that are decided without it. If it is unknown, others are skipped. */
  readonly partlyWithout?: { readonly kind: Kind; isDecided(subject: ObjectOf<S>, settings: MeshSettings): boolean };
  /** The mode in the profile `baseline`. */
  readonly mode: Mode | ProtectionModes;
  /** The rule checks only the changed objects; another rule reports the effects of other changes. */
  readonly onlyOwnChanges?: true;
  /**
   * Without an object of this kind, or at the `to` end of one of these relations, the rule finds nothing, so that no change is
   * followed to its subjects.
   */
  readonly onlyWith?: Kind | readonly Relation[];
  /**
   * Fields of the subject, such as `spec.http.mirrors`: a rule that only checks states finds nothing in an object that has none of
   * them, so that a review asks it for nothing. Audits and scans do ask, and the laws compare with them.
   */
  readonly onlyWithFields?: readonly string[];
  /** The rule also checks objects with fields of the wrong type, of which only a part was read. */
  readonly judgesMalformed?: true;
  /** The release that the rule first appeared in. */
  readonly since: string;
  /** `trial`: the rule warns at most, regardless of the policies, until it is promoted. */
  readonly stage?: "trial";
  readonly tags?: readonly string[];
  /** The policy that defines the rule, in messages: `MeshwardPolicy payments`. Built-in rules have none. */
  readonly definedBy?: string;
  /** The same rule in CEL, if one object alone decides it, or decides what may be denied: see `meshward export vap`. */
  readonly cel?: CelForm;
  /** Fields of its raw subjects that the rule reads: they are kept in `kept` of the object. */
  readonly keeps?: FieldUse;
  readonly parameters?: P;
  /** The defect, in one sentence. */
  readonly summary: string;
  /** The effect on requests, with the Istio source. */
  readonly why: string;
  /** The action that resolves the problem. */
  readonly fix: string;
  /** What somebody needs who is paged because of it. The list of built-in rules requires it; rules of policies have none. */
  readonly incident?: I;
}

/** An object and a view of the mesh. */
export interface RuleSide<S extends Kind, R extends Reads> {
  readonly object: ObjectOf<S>;
  readonly mesh: MeshView<R>;
}
/** The same after the changes. */
export interface ChangedSide<S extends Kind, R extends Reads> extends RuleSide<S, R> {
  /** The only change, so that nothing else differs between the two sides; undefined: there are several. */
  readonly only?: Change | undefined;
}

/**
 * Checks an object as it is, in the same way in admission, `check` and `audit`.
 *
 * A review pauses only where a rule yields a problem, or nothing (`yield;`), and a step that is too long is an error. So a
 * rule whose loop asks for a fact of each of many objects yields nothing after each of them.
 */
export interface StateRule<S extends Kind, R extends Reads, P extends Parameters, I extends Incident = never>
  extends Metadata<S, R, P, I> {
  check(object: ObjectOf<S>, mesh: MeshView<R>, parameters: ValuesOf<P>): Iterable<Problem | undefined>;
  /**
   * Whether others before the change affected at least the same in the same way, so that an object with a new problem, which may be new itself,
   * takes nothing from anybody and gives nothing away. Then the problem is not introduced.
   */
  wasSo?(object: ObjectOf<S>, problem: Problem, before: MeshView<R>): boolean;
  /** Whether a change that introduces a problem reduces harm, as a rollback does. Then the problem warns at most. */
  isRollback?(before: ObjectOf<S>, after: ObjectOf<S>, problem: Problem, parameters: ValuesOf<P>): boolean;
}
/**
 * Compares an object before and after a change. Problems count as introduced, unless they are marked as `existed`. It does
 * not run for new objects, of which a rule that can do both checks the state.
 */
export interface StepRule<S extends Kind, R extends Reads, P extends Parameters, I extends Incident = never>
  extends Metadata<S, R, P, I> {
  compare(before: RuleSide<S, R>, after: ChangedSide<S, R>, parameters: ValuesOf<P>): Iterable<Problem | undefined>;
}

type Values = Readonly<Record<string, ParameterValue>>;

/** A rule as the engine uses it. */
export interface Rule extends Metadata<Kind, Reads, Parameters, Incident> {
  readonly subject: readonly Kind[];
  readonly parameters: Parameters;
  readonly worksWithout: readonly Kind[];
  readonly tags: readonly string[];
  check?(object: AnyObject, mesh: Mesh, parameters: Values): Iterable<Problem | undefined>;
  wasSo?(object: AnyObject, problem: Problem, before: Mesh): boolean;
  isRollback?(before: AnyObject, after: AnyObject, problem: Problem, parameters: Values): boolean;
  compare?(
    before: { readonly object: AnyObject; readonly mesh: Mesh },
    after: { readonly object: AnyObject; readonly mesh: Mesh; readonly only?: Change | undefined },
    parameters: Values,
  ): Iterable<Problem | undefined>;
}

/** A rule of `src/rules`, which has a page for those who are paged because of it. */
export type BuiltInRule = Rule & { readonly incident: Incident };

/**
 * Defines a rule. Reading anything from the mesh that the rule does not declare is a type error. A rule with an `incident` is
 * a {@link BuiltInRule}.
 */
export function defineRule<
  const S extends Kind,
  const R extends Reads = never,
  P extends Parameters = Record<never, never>,
  I extends Incident = never,
>(rule: StateRule<S, R, P, I> | StepRule<S, R, P, I>): [I] extends [never] ? Rule : BuiltInRule {
  const subject = [rule.subject].flat();
  return { parameters: {}, worksWithout: [], tags: [], ...rule, subject } as never;
}

/** The defaults of a rule's parameters. */
export const defaultsOf = (rule: Rule): Values =>
  Object.fromEntries(Object.entries(rule.parameters).map(([name, parameter]) => [name, parameter.default]));

/** The modes of a rule in `baseline`, for protected and for other namespaces. */
export const modesOf = ({ mode }: Pick<Rule, "mode">): ProtectionModes =>
  typeof mode === "string" ? { protected: mode, elsewhere: mode } : mode;
