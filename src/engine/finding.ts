import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Mesh } from "../view/view.ts";
import type { Problem, Rule } from "./rule.ts";

/**
 * What a problem rests on makes its class; nothing else declares it.
 * - `intrinsic`: a state rule's problem without witnesses: the object alone is wrong.
 * - `weakening`: a step rule's problem: something protective goes.
 * - `relational`: a problem with witnesses: something else is missing, older, or still in use.
 */
export type FindingClass = "intrinsic" | "weakening" | "relational";

/** A problem with its rule, its subject and whether the change introduced it. */
export interface Finding extends Problem {
  readonly rule: Rule;
  /** As it is after the change. */
  readonly subject: AnyObject;
  readonly introduced: boolean;
  readonly class: FindingClass;
}

export function findingOf(problem: Problem, rule: Rule, subject: AnyObject, introduced: boolean): Finding {
  return { ...problem, rule, subject, introduced, class: classOf(problem, rule) };
}

function classOf({ restsOn }: Problem, rule: Rule): FindingClass {
  if (restsOn !== undefined && restsOn.length > 0) return "relational";
  return rule.compare ? "weakening" : "intrinsic";
}

/**
 * How much of what a problem rests on the view can vouch for: a witness of a kind that the view holds in part, or a
 * missing one of a kind that it is only assumed to hold whole, is worth a warning.
 */
export function isCertain({ restsOn }: Problem, mesh: Mesh): boolean {
  return (restsOn ?? []).every((witness) => {
    const missing = "absent" in witness;
    const kind: Kind = missing ? witness.absent : witness.kind;
    const knowledge = mesh.knowledge(kind);
    return knowledge === "complete" || (knowledge === "assumed" && !missing);
  });
}
