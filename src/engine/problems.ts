import type { AnyObject } from "../kube/object.ts";
import type { Change } from "../view/overlay.ts";
import { SmallMap } from "../view/small-map.ts";
import type { Mesh } from "../view/view.ts";
import type { Budget } from "./budget.ts";
import { type Finding, type FoundBy, messageOf } from "./finding.ts";
import { FindingList } from "./finding-list.ts";
import type { Problem } from "./rule.ts";
import { sameContent } from "./same-content.ts";

/** The two sides of a change, and the limits of its evaluation. */
export interface Evaluated {
  readonly before: Mesh;
  readonly after: Mesh;
  /** The only change between them; undefined: there are several. */
  readonly only?: Change | undefined;
  readonly budget: Budget | undefined;
  /** The number of findings of one rule for one object that are reported one by one; undefined: all. */
  readonly mostAlone: number | undefined;
}

type Problems = Iterator<Problem | undefined>;
/** What is left of an iterator of which one step was done. */
interface Rest {
  readonly problems: Problems;
  readonly first: IteratorResult<Problem | undefined>;
}

/**
 * The findings of a rule for a subject, which yields where the review may pause; undefined: the rule finds nothing, which is
 * the most frequent result and needs no pause. `old` is the subject before the change.
 */
export function findingsFor(
  by: FoundBy,
  old: AnyObject | undefined,
  evaluated: Evaluated,
): Generator<void, readonly Finding[]> | undefined {
  // A rule that can do both checks the state of a new object.
  const isStep = by.rule.compare !== undefined && old !== undefined;
  const found = isStep ? compared(by, old, evaluated) : checked(by, by.subject, evaluated.after);
  const problems = found[Symbol.iterator]();
  let first = problems.next();
  // Where nothing was found so far, and it is no time to pause, the rule goes on at once.
  while (!first.done && first.value === undefined && evaluated.budget?.isSliceOver() !== true) first = problems.next();
  if (first.done) return undefined;
  const rest = { problems, first };
  return isStep ? ofStep(by, rest, evaluated) : ofState({ by, old }, rest, evaluated);
}

function* ofStep(by: FoundBy, rest: Rest, { budget, mostAlone }: Evaluated): Generator<void, readonly Finding[]> {
  const found = new FindingList(by, { most: mostAlone });
  for (let step = rest.first; !step.done; step = rest.problems.next()) {
    if (step.value !== undefined) found.add(step.value, step.value.existed !== true);
    // Each problem counts as a visited object, because a rule can find many problems in few objects.
    if (budget?.isSliceOver() === true) yield;
  }
  return found.all();
}

function compared(
  { rule, subject, setting }: FoundBy,
  old: AnyObject,
  { before, after, only }: Evaluated,
): Iterable<Problem | undefined> {
  if (old.malformed !== undefined) return [];
  const sides = [
    { object: old, mesh: before },
    { object: subject, mesh: after, only },
  ] as const;
  return rule.compare?.(...sides, setting.parameters) ?? [];
}

interface Judged {
  readonly by: FoundBy;
  readonly old: AnyObject | undefined;
}

/**
 * introduced = after - before, as multisets: a second problem with the same key is introduced. A problem that stands for
 * others covers their keys, and is introduced if one of these is new.
 */
function* ofState(judged: Judged, rest: Rest, evaluated: Evaluated): Generator<void, readonly Finding[]> {
  const { by } = judged;
  const { before, only, budget, mostAlone } = evaluated;
  const deleted = only?.object === undefined ? only?.old : undefined;
  const found = new FindingList(by, { most: mostAlone, deleted });
  let known: Known | undefined;
  for (let step = rest.first; !step.done; step = rest.problems.next()) {
    if (step.value !== undefined && step.value.latent !== true) {
      // Only objects with a problem are evaluated before the change too.
      known ??= yield* knownFrom(problemsBefore(judged, before), budget);
      addOfState(found, step.value, { ...judged, known, before });
    }
    if (budget?.isSliceOver() === true) yield;
  }
  return found.all();
}

/** A new object has the problems of one that says the same, except in rules of policies, which may be about names. */
function problemsBefore({ by, old }: Judged, before: Mesh): Iterable<Problem | undefined> {
  const same = old === undefined && by.rule.definedBy === undefined ? sameContent(by.subject, before) : old;
  return checked(by, same, before);
}

const checked = (
  { rule, setting }: FoundBy,
  object: AnyObject | undefined,
  mesh: Mesh,
): Iterable<Problem | undefined> => (object && rule.check?.(object, mesh, setting.parameters)) ?? [];

/** The problems before the change. */
interface Known {
  /** Their number by key, without those that were found again. */
  readonly left: SmallMap<string, number>;
  /** The keys of the problems that some of them stand for. */
  readonly alsoFor: ReadonlySet<string>;
}
const forNoOthers: ReadonlySet<string> = new Set();
interface Before extends Judged {
  readonly before: Mesh;
  readonly known: Known;
}

function addOfState(found: FindingList, problem: Problem, judged: Before): void {
  const { known } = judged;
  const key = keyOf(problem);
  const left = known.left.get(key) ?? 0;
  if (left > 0) known.left.set(key, left - 1);
  if (isKnown(problem, key, left, known) || wasSo(problem, judged)) found.add(problem, false);
  else found.add(asNew(problem, judged), true);
}

/** Asked of what may be denied only: what warns at most is new, as it says of this object. */
const wasSo = (problem: Problem, { by: { rule, subject }, before }: Before): boolean =>
  problem.onlyWarns === undefined && rule.wasSo?.(subject, problem, before) === true;

function asNew(problem: Problem, { by: { rule, subject, setting }, old }: Before): Problem {
  const isRollback = old !== undefined && rule.isRollback?.(old, subject, problem, setting.parameters) === true;
  return isRollback ? { ...problem, onlyWarns: "it goes back to what was there before" } : problem;
}

function isKnown({ alsoFor, like }: Problem, key: string, left: number, known: Known): boolean {
  const isLikeKnown = like !== undefined && known.alsoFor.has(like);
  const isItself = left > 0 || known.alsoFor.has(key);
  if (alsoFor === undefined) return isItself || isLikeKnown;
  const areOthers =
    isLikeKnown || alsoFor.every((more) => known.left.get(more) !== undefined || known.alsoFor.has(more));
  return isItself && areOthers;
}

const keyOf = (problem: Problem): string => problem.key ?? messageOf(problem);

function count(left: SmallMap<string, number>, problem: Problem): void {
  const key = keyOf(problem);
  left.set(key, (left.get(key) ?? 0) + 1);
}

function* knownFrom(problems: Iterable<Problem | undefined>, budget: Budget | undefined): Generator<void, Known> {
  const left = new SmallMap<string, number>();
  let alsoFor: Set<string> | undefined;
  for (const problem of problems) {
    if (problem !== undefined) {
      if (problem.latent === undefined) count(left, problem);
      for (const more of problem.alsoFor ?? []) (alsoFor ??= new Set()).add(more);
    }
    if (budget?.isSliceOver() === true) yield;
  }
  return { left, alsoFor: alsoFor ?? forNoOthers };
}
