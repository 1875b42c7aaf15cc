import { identityOf, keyOf } from "../kube/identity.ts";
import { allKinds } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import type { Budget } from "./budget.ts";
import { isJudgedBy, type RuleError, type Skip } from "./evaluate.ts";
import { type Finding, type FoundBy, findingOf } from "./finding.ts";
import type { Problem, Rule } from "./rule.ts";
import { everyRule, namespaceOf, type Selection, type Settings } from "./setting.ts";
import { unknownFor, unknownKinds, unknownTo } from "./declared-reads.ts";
import { allSubjects, Subjects } from "./subjects.ts";

/** Evaluates the state rules for a mesh as it is. No finding is introduced. */
export function* audit(
  rules: readonly Rule[],
  mesh: Mesh,
  selection: Selection = everyRule,
): Generator<Finding | Skip | RuleError> {
  const side = sideOf(mesh);
  const settings = selection.between(side, side);
  const unknowns = unknownKinds(side);
  for (const rule of rules) {
    if (!rule.check) continue;
    const unknown = unknownTo(rule, unknowns);
    if (unknown === undefined) yield* auditingAll(rule, side, settings);
    else yield { rule, unknown };
  }
}

function* auditingAll(rule: Rule, mesh: Mesh, settings: Settings): Generator<Finding | Skip | RuleError> {
  let isSkipped = false;
  for (const subject of allSubjects(rule, mesh))
    for (const one of auditing(rule, subject, mesh, settings)) {
      if (!isSkip(one) || !isSkipped) yield one;
      isSkipped ||= isSkip(one);
    }
}

function* auditing(
  rule: Rule,
  subject: AnyObject,
  mesh: Mesh,
  settings: Settings,
): Generator<Finding | Skip | RuleError> {
  if (!isJudgedBy(rule, subject)) return;
  const setting = settings.of(rule, subject);
  if (setting.mode === "off") return;
  const unknown = unknownFor(rule, subject, mesh);
  if (unknown !== undefined) {
    yield { rule, unknown };
    return;
  }
  const by = { rule, subject, setting };
  try {
    for (const problem of rule.check?.(subject, mesh, setting.parameters) ?? [])
      if (problem !== undefined && problem.latent !== true) yield findingOf(problem, by, false);
  } catch (error) {
    yield { ...by, error };
  }
}

/** What the rules find in a mesh as it is. */
export interface AuditResults {
  readonly findings: readonly Finding[];
  readonly skipped: readonly Skip[];
  readonly errors: readonly RuleError[];
}

type Found = readonly (Finding | Skip | RuleError)[];

/** How an audit of a mesh in use is evaluated. */
export interface AuditPass {
  /** It must not change before the pass is done: see view/frozen.ts. */
  readonly mesh: Mesh;
  readonly selection: Selection;
  /** Limits each evaluation of a rule for one object; the slices are those of the whole pass. */
  readonly budget: Budget;
}

/**
 * The findings of an audit that is kept up to date. A pass over the whole mesh or over what changes touch yields after each
 * slice of its budget; only when it is done do its results replace the previous ones, so that an interrupted pass loses and
 * doubles nothing.
 */
export class StandingAudit {
  /** As they were given. */
  readonly rules: readonly Rule[];
  readonly #rules: readonly Rule[];
  #found: Map<Rule, Map<string, Found>> = new Map();
  #skipped: readonly Skip[] = [];

  constructor(rules: readonly Rule[]) {
    this.rules = rules;
    this.#rules = rules.filter(({ check }) => check !== undefined);
  }

  /** In the order of the rules. Yields after the rules with many findings. */
  *results(): Generator<void, AuditResults> {
    const [findings, errors, skipped]: [Finding[], RuleError[], Skip[]] = [[], [], [...this.#skipped]];
    for (const rule of this.#rules) {
      const all = [...(this.#found.get(rule)?.values() ?? [])].flat();
      for (const one of all) if (isFinding(one)) findings.push(one);
      for (const one of all) if (isError(one)) errors.push(one);
      skipped.push(...all.filter(isSkip).slice(0, 1));
      if (all.length >= manyFound) yield;
    }
    return { findings, errors, skipped };
  }

  /**
   * Evaluates every object: all rules for one object after the other, because they ask for the same facts of it and of what
   * is around it. Returns the number of evaluations.
   */
  *everything(pass: AuditPass): Generator<void, number> {
    const { found, skipped } = emptyFor(this.#rules, pass.mesh);
    const evaluation = new Evaluation(pass);
    for (const kind of allKinds) {
      const ofKind = [...found].filter(([rule]) => rule.subject.includes(kind));
      for (const subject of ofKind.length === 0 ? [] : pass.mesh.all(kind)) yield* evaluation.ofAll(ofKind, subject);
    }
    this.#found = found;
    this.#skipped = skipped;
    return evaluation.count;
  }

  /** Evaluates what these changes touch, from the mesh before them to that of the pass. Returns the number of evaluations. */
  *changed(changes: readonly Change[], before: Mesh, pass: AuditPass): Generator<void, number> {
    const evaluation = new Evaluation(pass);
    const subjects = new Subjects(changes, { before, after: pass.mesh }, "state");
    const resettled = yield* inNamespacesWithOtherLabels(changes, pass.mesh, evaluation);
    const next = new Map<Map<string, Found>, ReadonlyMap<string, Found>>();
    for (const rule of this.#rules) {
      const ofRule = this.#found.get(rule);
      const touched = chained(subjects.of(rule), resettled);
      if (ofRule !== undefined) next.set(ofRule, yield* evaluation.again(rule, touched));
    }
    for (const [ofRule, evaluated] of next)
      for (const [identity, problems] of evaluated)
        if (problems.length > 0) ofRule.set(identity, problems);
        else ofRule.delete(identity);
    return evaluation.count;
  }
}

interface Empty {
  readonly found: Map<Rule, Map<string, Found>>;
  readonly skipped: readonly Skip[];
}

/** The rules that can be evaluated, and those that need a kind which the mesh does not know. */
function emptyFor(rules: readonly Rule[], mesh: Mesh): Empty {
  const unknowns = unknownKinds(mesh);
  const found = new Map<Rule, Map<string, Found>>();
  const skipped: Skip[] = [];
  for (const rule of rules) {
    const unknown = unknownTo(rule, unknowns);
    if (unknown === undefined) found.set(rule, new Map());
    else skipped.push({ rule, unknown });
  }
  return { found, skipped };
}

const isError = (one: Found[number]): one is RuleError => "error" in one;
const isFinding = (one: Found[number]): one is Finding => "message" in one;
const isSkip = (one: Found[number]): one is Skip => !("subject" in one);

/** Policies select and protect by the labels of namespaces, so that these decide about every object in them. */
function* inNamespacesWithOtherLabels(
  changes: readonly Change[],
  mesh: Mesh,
  evaluation: Evaluation,
): Generator<void, readonly AnyObject[]> {
  const relabelled = changes.filter((change) => subjectOf(change).kind === "Namespace" && hasOtherLabels(change));
  const names = new Set(relabelled.map((change) => subjectOf(change).metadata.name));
  const found: AnyObject[] = [];
  for (const kind of names.size === 0 ? [] : allKinds)
    for (const object of mesh.all(kind)) {
      if (names.has(namespaceOf(object))) found.push(object);
      if (evaluation.isPauseDue()) yield;
    }
  return found;
}

const hasOtherLabels = ({ old, object }: Change): boolean =>
  JSON.stringify(old?.metadata.labels) !== JSON.stringify(object?.metadata.labels);

function* chained<T>(...lists: readonly Iterable<T>[]): Generator<T> {
  for (const list of lists) yield* list;
}

interface Rest {
  readonly problems: Iterator<Problem | undefined>;
  readonly first: IteratorResult<Problem | undefined>;
}

/** The evaluations of one pass, which share facts. */
class Evaluation {
  readonly #pass: AuditPass;
  readonly #budget: Budget;
  #mesh: Mesh;
  #settings: Settings;
  #count = 0;

  constructor(pass: AuditPass) {
    this.#pass = pass;
    this.#budget = pass.budget;
    this.#mesh = sideOf(pass.mesh, pass.budget.spend);
    this.#settings = pass.selection.between(this.#mesh, this.#mesh);
  }

  /** What a rule finds for an object; undefined: nothing, which is the most frequent result and needs no generator. */
  of(rule: Rule, subject: AnyObject): Generator<void, Found> | undefined {
    if (++this.#count % mostSharing === 0) this.#forgetFacts();
    if (!isJudgedBy(rule, subject)) return undefined;
    const setting = this.#settings.of(rule, subject);
    if (setting.mode === "off") return undefined;
    const unknown = unknownFor(rule, subject, this.#mesh);
    if (unknown !== undefined) return instead({ rule, unknown });
    this.#budget.renew();
    try {
      const problems = (rule.check?.(subject, this.#mesh, setting.parameters) ?? noProblems)[Symbol.iterator]();
      const first = problems.next();
      return first.done === true ? undefined : this.#rest({ rule, subject, setting }, { problems, first });
    } catch (error) {
      return instead({ rule, subject, setting, error });
    }
  }

  /** What these rules find for an object, each in a list of its own. */
  *ofAll(rules: readonly (readonly [Rule, Map<string, Found>])[], subject: AnyObject): Generator<void, void> {
    for (const [rule, ofRule] of rules) {
      const problems = this.of(rule, subject);
      if (problems !== undefined) keep(yield* problems, subject, ofRule);
      if (this.isPauseDue()) yield;
    }
  }

  #forgetFacts(): void {
    this.#mesh = sideOf(this.#pass.mesh, this.#budget.spend);
    this.#settings = this.#pass.selection.between(this.#mesh, this.#mesh);
  }

  *#rest(by: FoundBy, { problems, first }: Rest): Generator<void, Found> {
    const found: (Finding | RuleError)[] = [];
    try {
      for (let step = first; step.done !== true; step = problems.next()) {
        if (step.value !== undefined && step.value.latent !== true) found.push(findingOf(step.value, by, false));
        if (this.#budget.isSliceOver()) yield;
      }
    } catch (error) {
      found.push({ ...by, error });
    }
    return found;
  }

  /** Evaluates these objects as they are now, each once. One that does not exist any more has no problems. */
  *again(rule: Rule, touched: Iterable<AnyObject | undefined>): Generator<void, ReadonlyMap<string, Found>> {
    const kinds = new Set(rule.subject);
    const found = new Map<string, Found>();
    for (const reached of touched) {
      if (this.isPauseDue()) yield;
      if (reached === undefined || !kinds.has(reached.kind)) continue;
      const identity = identityOf(reached);
      if (found.has(identity)) continue;
      const subject = this.#mesh.find(reached.kind, keyOf(reached));
      if (subject === undefined) this.#count++;
      const problems = subject && this.of(rule, subject);
      found.set(identity, problems === undefined ? none : yield* problems);
    }
    return found;
  }

  /** Whether others should get a turn before the next evaluation. */
  isPauseDue(): boolean {
    this.#budget.renew();
    try {
      return this.#budget.isSliceOver();
    } catch {
      // The last evaluation took all its time without a look at the clock, and has ended.
      return true;
    }
  }

  get count(): number {
    return this.#count;
  }
}

function keep(problems: Found, subject: AnyObject, ofRule: Map<string, Found>): void {
  if (problems.length > 0) ofRule.set(identityOf(subject), problems);
}

function* instead(one: RuleError | Skip): Generator<void, Found> {
  return [one];
}

/**
 * After so many evaluations, those of some hundred objects, the facts are computed again, so that the memory of a pass does not
 * grow with the mesh.
 */
const mostSharing = 20_000;
/** So many findings of one rule take about a millisecond to collect. */
const manyFound = 2_000;
const none: Found = [];
const noProblems: readonly Problem[] = [];
