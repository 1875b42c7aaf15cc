import { keyOf, namespaceKey } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, overlay, subjectOf } from "../view/overlay.ts";
import { defaultMeshSettings, isMeshSettings, meshSettingsOf } from "../view/settings.ts";
import { rebuilt } from "../view/store.ts";
import type { Mesh } from "../view/view.ts";
import { type Finding, findingOf } from "./finding.ts";
import { defaultsOf, type ParameterValue, type Problem, type Rule } from "./rule.ts";
import { allSubjects, concerns, subjectsOf, unknownTo } from "./subjects.ts";

export interface Skip {
  readonly rule: Rule;
  /** The kind that the rule needs and the view cannot supply. */
  readonly unknown: Kind;
}
export interface RuleError {
  readonly rule: Rule;
  readonly subject: AnyObject;
  readonly error: unknown;
}
export interface Evaluation {
  readonly findings: readonly Finding[];
  readonly skipped: readonly Skip[];
  readonly errors: readonly RuleError[];
  /** The two sides of the change, as they were judged. */
  readonly before: Mesh;
  readonly after: Mesh;
}

/** What a policy decides before a rule runs. It may only leave out what could not count anyway. */
export interface Selection {
  /** `after` is undefined where the subject goes. */
  applies(rule: Rule, subject: AnyObject, before: Mesh, after: Mesh): boolean;
  parameters(rule: Rule, subject: AnyObject): Readonly<Record<string, ParameterValue>>;
}
const everything: Selection = { applies: () => true, parameters: defaultsOf };

/**
 * What the rules say of these changes. `view` may lag behind the request: each change's old object is laid over it
 * first. Synchronous and pure; an error inside a rule is an error of that rule.
 */
export function judge(
  rules: readonly Rule[],
  view: Mesh,
  changes: readonly Change[],
  selection: Selection = everything,
): Evaluation {
  const mentioned = changes.map((change) => subjectOf(change).metadata.namespace);
  const before = asRequested(view, changes, mentioned);
  const after = withSettings(overlay(before, changes, mentioned), changes);
  const evaluation: Draft = { findings: [], skipped: [], errors: [], before, after, selection };
  const changed = new Set(changes.map((change) => subjectOf(change).kind));
  const settingsChanged = after.settings !== before.settings;
  for (const rule of rules) {
    if (!settingsChanged && !concerns(rule, changed)) continue;
    const unknown = unknownTo(rule, before);
    if (unknown !== undefined) {
      evaluation.skipped.push({ rule, unknown });
      continue;
    }
    const subjects = settingsChanged ? [...allSubjects(rule, after)] : subjectsOf(rule, changes, [before, after]);
    for (const subject of subjects) judgeSubject(rule, subject, evaluation);
  }
  return evaluation;
}

/** What the state rules say of a mesh as it is. Nothing in it is introduced. */
export function* audit(
  rules: readonly Rule[],
  mesh: Mesh,
  selection: Selection = everything,
): Generator<Finding | Skip | RuleError> {
  for (const rule of rules) {
    if (!rule.check) continue;
    const unknown = unknownTo(rule, mesh);
    if (unknown !== undefined) yield { rule, unknown };
    else for (const subject of allSubjects(rule, mesh)) yield* auditSubject(rule, subject, mesh, selection);
  }
}

function* auditSubject(
  rule: Rule,
  subject: AnyObject,
  mesh: Mesh,
  selection: Selection,
): Generator<Finding | RuleError> {
  if (!isJudgedBy(rule, subject) || !selection.applies(rule, subject, mesh, mesh)) return;
  try {
    for (const problem of problemsOf(rule, subject, mesh, selection)) yield findingOf(problem, rule, subject, false);
  } catch (error) {
    yield { rule, subject, error };
  }
}

interface Draft {
  readonly findings: Finding[];
  readonly skipped: Skip[];
  readonly errors: RuleError[];
  readonly before: Mesh;
  readonly after: Mesh;
  readonly selection: Selection;
}

/** The view with the old objects that the request itself shows, which may be newer than what was watched. */
function asRequested(view: Mesh, changes: readonly Change[], mentioned: readonly string[]): Mesh {
  const shown: Change[] = [];
  let isComplete = true;
  for (const change of changes) {
    const { kind, metadata } = subjectOf(change);
    const there = view.find(kind, keyOf(subjectOf(change)));
    if (!isSame(there, change.old)) shown.push({ old: there, object: change.old });
    if (metadata.namespace !== "" && view.find("Namespace", namespaceKey(metadata.namespace)) === undefined)
      isComplete = false;
  }
  const wanted = shown.filter(({ old, object }) => old !== undefined || object !== undefined);
  return wanted.length === 0 && isComplete ? view : overlay(view, wanted, mentioned);
}

function isSame(there: AnyObject | undefined, old: AnyObject | undefined): boolean {
  if (there === old) return true;
  if (there === undefined || old === undefined || there.implied) return false;
  const { uid, resourceVersion } = there.metadata;
  return (
    uid !== undefined &&
    resourceVersion !== undefined &&
    uid === old.metadata.uid &&
    resourceVersion === old.metadata.resourceVersion
  );
}

/** A change of mesh settings alters keys: the one case that rebuilds. */
function withSettings(after: Mesh, changes: readonly Change[]): Mesh {
  const isTouched = changes.some((change) => {
    const subject = subjectOf(change);
    return subject.kind === "MeshConfig" && isMeshSettings(subject);
  });
  if (!isTouched) return after;
  // What no mesh config can say is kept: it came from elsewhere.
  const { domain, revisions } = after.settings;
  const settings = meshSettingsOf(after.all("MeshConfig"), { ...defaultMeshSettings, domain, revisions });
  return JSON.stringify(settings) === JSON.stringify(after.settings) ? after : rebuilt(after, settings);
}

function judgeSubject(rule: Rule, subject: AnyObject, draft: Draft): void {
  const { before, after, selection, findings, errors } = draft;
  const now = after.find(subject.kind, keyOf(subject));
  if (now === undefined || !isJudgedBy(rule, now) || !selection.applies(rule, now, before, after)) return;
  const old = before.find(subject.kind, keyOf(subject));
  try {
    // One by one: a hostile object has more findings than a call takes arguments.
    for (const finding of (rule.compare ? step : state)(rule, old, now, draft)) findings.push(finding);
  } catch (error) {
    errors.push({ rule, subject: now, error });
  }
}

/** object-malformed (subject `*`) comes before all: what was read only in part is judged by no other rule. */
const isJudgedBy = (rule: Rule, subject: AnyObject): boolean => subject.malformed === undefined || rule.subject === "*";

function problemsOf(rule: Rule, subject: AnyObject, mesh: Mesh, selection: Selection): readonly Problem[] {
  return [...(rule.check?.(subject, mesh, selection.parameters(rule, subject)) ?? [])];
}

function step(rule: Rule, old: AnyObject | undefined, now: AnyObject, { before, after, selection }: Draft): Finding[] {
  if (old === undefined || old.malformed !== undefined) return [];
  const parameters = selection.parameters(rule, now);
  const problems = rule.compare?.({ object: old, mesh: before }, { object: now, mesh: after }, parameters) ?? [];
  return [...problems].map((problem) => findingOf(problem, rule, now, true));
}

/** introduced = after - before, as a counted multiset: a second mistake like the first is a new one. */
function state(rule: Rule, old: AnyObject | undefined, now: AnyObject, { before, after, selection }: Draft): Finding[] {
  const problems = problemsOf(rule, now, after, selection);
  if (problems.length === 0) return [];
  const known = new Map<string, number>();
  if (old !== undefined)
    for (const { key, message } of problemsOf(rule, old, before, selection))
      known.set(key ?? message, (known.get(key ?? message) ?? 0) + 1);
  return problems.map((problem) => {
    const key = problem.key ?? problem.message;
    const left = known.get(key) ?? 0;
    known.set(key, left - 1);
    const isRollback =
      old !== undefined && left <= 0 && rule.isRollback?.(old, now, problem, selection.parameters(rule, now)) === true;
    return findingOf(isRollback ? { ...problem, atMost: "warn" } : problem, rule, now, left <= 0);
  });
}
