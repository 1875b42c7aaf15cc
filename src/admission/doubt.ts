import { judge } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import type { Rule } from "../engine/rule.ts";
import { kindsRead } from "../engine/subjects.ts";
import { identityOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { Mesh } from "../view/view.ts";
import type { Judgement } from "./judgement.ts";

/**
 * Kinds that make it doubtful whether a weakening is one: the view holds only some of their objects, or has not heard of
 * them for too long. Empty where there is nothing to doubt, or where the request itself shows what goes.
 */
export function doubtedKinds(finding: Finding, judgement: Judgement): readonly Kind[] {
  if (finding.class !== "weakening") return [];
  const kinds = partlyKnown(finding.rule, judgement.evaluation.before);
  return kinds.length === 0 || isShown(finding, judgement) ? [] : kinds;
}

const partlyKnown = (rule: Rule, mesh: Mesh): readonly Kind[] =>
  [...kindsRead(rule)].filter((kind) => mesh.knowledge(kind) === "partial" && !rule.worksWithout.includes(kind));

/**
 * The old object is what protected: it is the subject itself, or taking it away would weaken the subject. A deletion
 * does just that.
 */
function isShown({ rule, subject }: Finding, { change, changed, evaluation, selection }: Judgement): boolean {
  const { old, object } = change;
  if (old === undefined) return false;
  const weakened = identityOf(subject);
  if (object === undefined || weakened === identityOf(changed)) return true;
  return judge([rule], evaluation.before, [{ old }], selection).findings.some(
    (finding) => identityOf(finding.subject) === weakened,
  );
}
