import { identityOf, keyOf } from "../kube/identity.ts";
import { allKinds } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import { sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import type { Budget } from "./budget.ts";
import { isJudgedBy, type RuleError, type Skip } from "./evaluate.ts";
import { type Finding, findingOf } from "./finding.ts";
import type { Rule } from "./rule.ts";
import { everyRule, namespaceOf, type Selection, type Settings } from "./setting.ts";
import { unknownKinds, unknownTo } from "./declared-reads.ts";
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

function* auditingAll(rule: Rule, mesh: Mesh, settings: Settings): Generator<Finding | RuleError> {
  for (const subject of allSubjects(rule, mesh))
    for (const found of auditing(rule, subject, mesh, settings)) if (found !== undefined) yield found;
}

/** Yields nothing where it may pause, as rules do. */
function* auditing(
  rule: Rule,
  subject: AnyObject,
  mesh: Mesh,
  settings: Settings,
): Generator<Finding | RuleError | undefined> {
  if (!isJudgedBy(rule, subject)) return;
  const setting = settings.of(rule, subject);
  if (setting.mode === "off") return;
  const by = { rule, subject, setting };
  try {
    for (const problem of rule.check?.(subject, mesh, setting.parameters) ?? [])
      yield problem && findingOf(problem, by, false);
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

type Found = readonly (Finding | RuleError)[];

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
    const [findings, errors]: [Finding[], RuleError[]] = [[], []];
    for (const rule of this.#rules) {
      const all = [...(this.#found.get(rule)?.values() ?? [])].flat();
      for (const one of all) if (!isError(one)) findings.push(one);
      for (const one of all) if (isError(one)) errors.push(one);
      if (all.length >= manyFound) yield;
    }
    return { findings, errors, skipped: this.#skipped };
  }

  /** Evaluates every object. Returns the number of evaluations. */
  *everything(pass: AuditPass): Generator<void, number> {
    const found = new Map<Rule, Map<string, Found>>();
    const skipped: Skip[] = [];
    const evaluation = new Evaluation(pass);
    const unknowns = unknownKinds(pass.mesh);
    for (const rule of this.#rules) {
      const unknown = unknownTo(rule, unknowns);
      if (unknown !== undefined) {
        skipped.push({ rule, unknown });
        continue;
      }
      const ofRule = new Map<string, Found>();
      found.set(rule, ofRule);
      for (const subject of allSubjects(rule, pass.mesh)) {
        yield* evaluation.pause();
        const problems = yield* evaluation.of(rule, subject);
        if (problems.length > 0) ofRule.set(identityOf(subject), problems);
      }
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

const isError = (one: Finding | RuleError): one is RuleError => "error" in one;

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
      yield* evaluation.pause();
    }
  return found;
}

const hasOtherLabels = ({ old, object }: Change): boolean =>
  JSON.stringify(old?.metadata.labels) !== JSON.stringify(object?.metadata.labels);

function* chained<T>(...lists: readonly Iterable<T>[]): Generator<T> {
  for (const list of lists) yield* list;
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

  *of(rule: Rule, subject: AnyObject): Generator<void, Found> {
    if (++this.#count % mostSharing === 0) this.#forgetFacts();
    this.#budget.renew();
    try {
      return yield* this.#found(rule, subject);
    } catch (error) {
      // The budget was exceeded between two problems.
      return [{ rule, subject, setting: this.#settings.of(rule, subject), error }];
    }
  }

  #forgetFacts(): void {
    this.#mesh = sideOf(this.#pass.mesh, this.#budget.spend);
    this.#settings = this.#pass.selection.between(this.#mesh, this.#mesh);
  }

  *#found(rule: Rule, subject: AnyObject): Generator<void, Found> {
    let found: (Finding | RuleError)[] | undefined;
    for (const problem of auditing(rule, subject, this.#mesh, this.#settings)) {
      if (problem !== undefined) (found ??= []).push(problem);
      if (problem !== undefined && "error" in problem) break;
      if (this.#budget.isSliceOver()) yield;
    }
    return found ?? none;
  }

  /** Evaluates these objects as they are now, each once. One that does not exist any more has no problems. */
  *again(rule: Rule, touched: Iterable<AnyObject | undefined>): Generator<void, ReadonlyMap<string, Found>> {
    const kinds = new Set(rule.subject);
    const found = new Map<string, Found>();
    for (const reached of touched) {
      yield* this.pause();
      if (reached === undefined || !kinds.has(reached.kind)) continue;
      const identity = identityOf(reached);
      if (found.has(identity)) continue;
      const subject = this.#mesh.find(reached.kind, keyOf(reached));
      if (subject === undefined) this.#count++;
      found.set(identity, subject === undefined ? none : yield* this.of(rule, subject));
    }
    return found;
  }

  /** Pauses if it is time to. */
  *pause(): Generator<void, void> {
    this.#budget.renew();
    if (this.#budget.isSliceOver()) yield;
  }

  get count(): number {
    return this.#count;
  }
}

/** After so many evaluations the facts are computed again, so that the memory of a pass does not grow with the mesh. */
const mostSharing = 5_000;
/** So many findings of one rule take about a millisecond to collect. */
const manyFound = 2_000;
const none: Found = [];
