import type { AnyObject } from "../kube/object.ts";
import type { Mesh } from "../view/view.ts";
import type { Budget } from "./budget.ts";
import type { Finding, FoundBy } from "./finding.ts";
import { FindingList } from "./finding-list.ts";
import type { Problem } from "./rule.ts";

/** The two sides of a change, and the limits of its evaluation. */
export interface Evaluated {
  readonly before: Mesh;
  readonly after: Mesh;
  readonly budget: Budget | undefined;
  /** The number of findings of one rule for one object that are reported one by one; undefined: all. */
  readonly mostAlone: number | undefined;
}

const none: readonly Finding[] = [];

/** The findings of a rule for a subject. Yields where the review may pause. `old` is the subject before the change. */
export const findingsFor = (
  by: FoundBy,
  old: AnyObject | undefined,
  evaluated: Evaluated,
): Generator<void, readonly Finding[]> => (by.rule.compare ? ofStep : ofState)(by, old, evaluated);

function* ofStep(by: FoundBy, old: AnyObject | undefined, evaluated: Evaluated): Generator<void, readonly Finding[]> {
  if (old === undefined || old.malformed !== undefined) return none;
  const { rule, subject, setting } = by;
  const { before, after, budget, mostAlone } = evaluated;
  const sides = [
    { object: old, mesh: before },
    { object: subject, mesh: after },
  ] as const;
  const problems = yield* collected(rule.compare?.(...sides, setting.parameters), budget);
  if (problems.length === 0) return none;
  const found = new FindingList(by, mostAlone);
  for (const problem of problems) found.add(problem, true);
  return found.all();
}

/** introduced = after - before, as multisets: a second problem with the same key is introduced. */
function* ofState(by: FoundBy, old: AnyObject | undefined, evaluated: Evaluated): Generator<void, readonly Finding[]> {
  const { before, after, budget, mostAlone } = evaluated;
  const problems = yield* collected(checked(by, by.subject, after), budget);
  if (problems.length === 0) return none;
  const left = countsByKey(yield* collected(checked(by, old, before), budget));
  const found = new FindingList(by, mostAlone);
  for (const problem of problems) {
    const known = left.get(keyOf(problem)) ?? 0;
    left.set(keyOf(problem), known - 1);
    const isIntroduced = known <= 0;
    found.add(isIntroduced && isRollback(problem, old, by) ? { ...problem, atMost: "warn" } : problem, isIntroduced);
    if (budget?.isSliceOver() === true) yield;
  }
  return found.all();
}

const checked = ({ rule, setting }: FoundBy, object: AnyObject | undefined, mesh: Mesh) =>
  object && rule.check?.(object, mesh, setting.parameters);

const isRollback = (problem: Problem, old: AnyObject | undefined, { rule, subject, setting }: FoundBy): boolean =>
  old !== undefined && rule.isRollback?.(old, subject, problem, setting.parameters) === true;

const keyOf = ({ key, message }: Problem): string => key ?? message;

function countsByKey(problems: readonly Problem[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const problem of problems) counts.set(keyOf(problem), (counts.get(keyOf(problem)) ?? 0) + 1);
  return counts;
}

/** Each problem counts as a visited object, because a rule can find many problems in few objects. */
function* collected(
  problems: Iterable<Problem | undefined> | undefined,
  budget: Budget | undefined,
): Generator<void, readonly Problem[]> {
  const found: Problem[] = [];
  for (const problem of problems ?? []) {
    if (problem !== undefined) found.push(problem);
    if (budget?.isSliceOver() === true) yield;
  }
  return found;
}
