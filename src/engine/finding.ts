import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Mesh } from "../view/view.ts";
import type { Problem, Rule } from "./rule.ts";
import type { RuleSetting } from "./setting.ts";

/**
 * The class of a finding follows from its evidence and from the kind of rule.
 * - `intrinsic`: a state rule's problem without evidence: the object alone is wrong.
 * - `weakening`: a step rule's problem: the change removes protection.
 * - `relational`: a problem with evidence: something else is missing, older, or still in use.
 */
export type FindingClass = "intrinsic" | "weakening" | "relational";

/** A problem with its rule, its subject, the rule's setting for it and whether the change introduced it. */
export interface Finding extends Omit<Problem, "undecided" | "message" | "fix"> {
  readonly message: string;
  readonly fix?: string;
  readonly rule: Rule;
  /** The subject after the change. */
  readonly subject: AnyObject;
  readonly setting: RuleSetting;
  readonly introduced: boolean;
  readonly class: FindingClass;
  /** Why it is not known whether there is a problem: the rule failed, or a kind that it needs is unknown. */
  readonly undecided?: "error" | "unknown";
  /** The number of further findings with the same ruling that are not reported alone. */
  readonly standsFor?: number;
}

export interface FoundBy {
  readonly rule: Rule;
  readonly subject: AnyObject;
  readonly setting: RuleSetting;
}

export function findingOf(problem: Problem, { rule, subject, setting }: FoundBy, introduced: boolean): Finding {
  const of = { rule, subject, setting, introduced, class: classOf(problem, rule) };
  return { ...(problem as WithoutTexts), ...textsOf(problem), ...of };
}

type Texts = Pick<Finding, "message" | "fix">;
type WithoutTexts = Omit<Problem, keyof Texts>;

const textsOf = ({ message, fix }: Problem): Texts =>
  fix === undefined ? { message: written(message) } : { message: written(message), fix: written(fix) };

export const messageOf = ({ message }: Pick<Problem, "message">): string => written(message);
const written = (text: string | (() => string)): string => (typeof text === "string" ? text : text());

/**
 * Whether a finding rests on something that is not known, so that a report only names its rule. Where anything is ambient, a guess
 * that something is ambient is reported as other findings are.
 */
export const isGuess = ({ guess, guessOf }: Pick<Problem, "guess" | "guessOf">, isAmbient: boolean): boolean =>
  guess !== undefined && !(isAmbient && guessOf === "ambient");

/** The findings of a mesh, and the guesses among them. `isAmbient` is asked only if there are any, because it may read the whole mesh. */
export function withoutGuesses(
  findings: readonly Finding[],
  isAmbient: () => boolean,
): { readonly sure: readonly Finding[]; readonly guesses: readonly Finding[] } {
  if (findings.every(({ guess }) => guess === undefined)) return { sure: findings, guesses: [] };
  const speaksOfAmbient = isAmbient();
  const guesses = findings.filter((finding) => isGuess(finding, speaksOfAmbient));
  return { sure: findings.filter((finding) => !isGuess(finding, speaksOfAmbient)), guesses };
}

/** Each rule with guesses once, and what is not known. */
export function guessedRules(
  guesses: readonly Finding[],
): readonly { readonly rule: string; readonly unknown: string }[] {
  return [...Map.groupBy(guesses, ({ rule }) => rule.id)].map(([rule, findings]) => {
    const [first = "", ...others] = new Set(findings.flatMap(({ guess }) => guess ?? []));
    return { rule, unknown: others.length === 0 ? first : `${first}, and ${others.length} more like it` };
  });
}

function classOf({ evidence }: Problem, rule: Rule): FindingClass {
  if (evidence !== undefined && evidence.length > 0) return "relational";
  return rule.compare ? "weakening" : "intrinsic";
}

/**
 * The kinds of the evidence that are not known well enough to deny: any evidence of a partial kind, and a missing object
 * of an assumed kind, unless the change took it away (`isTaken`).
 */
export function uncertainEvidence(
  { evidence = [] }: Pick<Problem, "evidence">,
  mesh: Mesh,
  isTaken: boolean,
): readonly Kind[] {
  const kinds = new Set<Kind>();
  for (const one of evidence) {
    const isMissing = "absent" in one && !isTaken;
    const kind = "absent" in one ? one.absent : one.kind;
    const knowledge = mesh.knowledge(kind);
    if (knowledge !== "complete" && (knowledge !== "assumed" || isMissing)) kinds.add(kind);
  }
  return [...kinds];
}
