import { type Evaluation, judge } from "../engine/evaluate.ts";
import type { Finding } from "../engine/finding.ts";
import type { Rule } from "../engine/rule.ts";
import type { PolicySelection } from "../engine/setting.ts";
import { kindsRead } from "../engine/declared-reads.ts";
import { identityOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Change } from "../view/overlay.ts";

/** A change and its evaluation. */
interface Judged {
  readonly change: Change;
  readonly changed: AnyObject;
  readonly evaluation: Evaluation;
  readonly selection: PolicySelection;
}

/**
 * The kinds with partial or stale data that make a weakening uncertain. Empty if nothing is uncertain, or if the request
 * itself shows the loss.
 */
export function incompleteKinds(finding: Finding, judged: Judged): readonly Kind[] {
  if (finding.class !== "weakening") return [];
  const { rule } = finding;
  const { before } = judged.evaluation;
  const kinds = [...kindsRead(rule)].filter(
    (kind) => before.knowledge(kind) === "partial" && !rule.worksWithout.includes(kind),
  );
  return kinds.length === 0 || isShown(finding, judged) ? [] : kinds;
}

/**
 * Whether the old object is what protected the subject: it is the subject itself, or deleting it would weaken the subject.
 */
function isShown({ rule, subject }: Finding, { change, changed, evaluation, selection }: Judged): boolean {
  const { old, object } = change;
  if (old === undefined) return false;
  const weakened = identityOf(subject);
  if (object === undefined || weakened === identityOf(changed)) return true;
  return lostWith(old, rule, evaluation, selection).has(weakened);
}

const losses = new WeakMap<Evaluation, Map<Rule, ReadonlySet<string>>>();

/** The identities of the subjects that the deletion of an object would weaken. Stored, because each of them asks. */
function lostWith(old: AnyObject, rule: Rule, evaluation: Evaluation, selection: PolicySelection): ReadonlySet<string> {
  const known = losses.get(evaluation) ?? new Map<Rule, ReadonlySet<string>>();
  losses.set(evaluation, known);
  let lost = known.get(rule);
  if (lost === undefined) {
    const { findings } = judge([rule], evaluation.before, [{ old }], { selection });
    known.set(rule, (lost = new Set(findings.map(({ subject }) => identityOf(subject)))));
  }
  return lost;
}
