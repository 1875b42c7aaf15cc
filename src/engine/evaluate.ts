import { keyOf, namespaceKey } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Change, overlay, subjectOf, withSettings } from "../view/overlay.ts";
import {
  type AllMeshSettings,
  changedSettings,
  decidesSettings,
  isFree,
  defaultMeshSettings,
  meshSettingsOf,
  type SettingName,
  settingsObjects,
} from "../view/settings.ts";
import { sideBeside, sideOf } from "../view/side.ts";
import type { Mesh } from "../view/view.ts";
import { type Budget, BudgetExceeded } from "./budget.ts";
import { countedOtherwise, keyedOtherwise } from "./counted-otherwise.ts";
import type { Finding, FoundBy } from "./finding.ts";
import { type Evaluated, findingsFor } from "./problems.ts";
import type { Rule } from "./rule.ts";
import { everyRule, isAsStrict, type RuleSetting, type Selection, type Settings } from "./setting.ts";
import { hasAnyField } from "./fields-set.ts";
import { indexesRead, readsSetting, rulesConcerned, unknownFor, unknownKinds, unknownTo } from "./declared-reads.ts";
import { withoutPauses } from "./steps.ts";
import { changedObjects, Subjects } from "./subjects.ts";

export interface Skip {
  readonly rule: Rule;
  /** The kind that the rule needs and the view does not know. */
  readonly unknown: Kind;
  /** The setting of the rule for the changed object; undefined in an audit. */
  readonly setting?: RuleSetting;
}
export interface RuleError extends FoundBy {
  readonly error: unknown;
}
export interface Evaluation {
  readonly findings: readonly Finding[];
  readonly skipped: readonly Skip[];
  readonly errors: readonly RuleError[];
  /** The two sides of the change that were evaluated. */
  readonly before: Mesh;
  readonly after: Mesh;
}

export interface JudgeOptions {
  /** Default: every rule in its own mode. */
  readonly selection?: Selection;
  /** Default: none. */
  readonly budget?: Budget;
  /** How many findings of one rule for one object are reported one by one, see FindingList. Default: all. */
  readonly mostAlone?: number;
  /** Evaluates every subject of every rule, even if the change cannot affect it. Property tests compare with it. */
  readonly isScan?: boolean;
}

/**
 * Evaluates the rules for these changes. `view` may lag behind the request, so the old object of each change is applied to
 * it first. Synchronous and pure; an error inside a rule is reported for that rule and does not affect others.
 */
export function judge(
  rules: readonly Rule[],
  view: Mesh,
  changes: readonly Change[],
  options: JudgeOptions = {},
): Evaluation {
  return withoutPauses(judging(rules, view, changes, options));
}

/** The same, but yields after each slice of the budget. The view must not change until it is done. */
export function* judging(
  rules: readonly Rule[],
  view: Mesh,
  changes: readonly Change[],
  { selection = everyRule, budget, mostAlone, isScan = false }: JudgeOptions,
): Generator<void, Evaluation> {
  const { before, after, settings, kinds, counted } = yield* sidesOf(view, changes, { rules, budget });
  const draft: Draft = {
    ...{ before, after, budget, mostAlone, findings: [], skipped: [], errors: [], pairs: new Map() },
    only: counted.length === 0 ? onlyOf(changes) : undefined,
    isScan,
    settings: selection.between(before, after),
    changed: new Set([...changedObjects(changes, before, after), ...counted]),
  };
  const subjects = new Subjects(isScan ? undefined : changes, { before, after, settings, counted });
  const asked = isScan ? rules : rulesFor(kinds, settings, rules);
  yield* judgeRules(withoutUnknown(asked, changes, draft), { subjects, changes }, draft);
  budget?.end();
  return draft;
}

/** The rules without those that need a kind which the view does not know. */
function withoutUnknown(rules: readonly Rule[], changes: readonly Change[], draft: Draft): readonly Rule[] {
  const unknowns = unknownKinds(draft.before);
  if (unknowns.size === 0) return rules;
  return rules.filter((rule) => {
    const unknown = unknownTo(rule, unknowns);
    if (unknown === undefined) return true;
    draft.skipped.push({ rule, unknown, setting: settingFor(rule, changes, draft.settings) });
    return false;
  });
}

interface Asked {
  readonly subjects: Subjects;
  readonly changes: readonly Change[];
}

/** Evaluates the affected subjects, or all subjects, of each rule. After the budget is exceeded, no rule is evaluated. */
function* judgeRules(rules: readonly Rule[], { subjects, changes }: Asked, draft: Draft): Generator<void, void> {
  const progress = { rules: 0 };
  try {
    yield* judgeEach(rules, subjects, draft, progress);
  } catch (error) {
    if (!(error instanceof BudgetExceeded)) throw error;
    for (const rule of rules.slice(progress.rules)) notJudged(rule, changes, error, draft);
  }
}

/** One generator for all rules, because a review has many that find nothing. Counts the rules that are done. */
function* judgeEach(
  rules: readonly Rule[],
  subjects: Subjects,
  draft: Draft,
  progress: { rules: number },
): Generator<void, void> {
  const { budget } = draft;
  for (const rule of rules) {
    for (const subject of subjects.of(rule)) {
      const rest = subject && judgeSubject(rule, subject, draft);
      if (rest !== undefined) yield* rest;
      if (budget?.isSliceOver() === true) yield;
    }
    progress.rules++;
  }
}

const onlyOf = (changes: readonly Change[]): Change | undefined => (changes.length === 1 ? changes[0] : undefined);

function rulesFor(
  kinds: ReadonlySet<Kind>,
  settings: ReadonlySet<SettingName>,
  rules: readonly Rule[],
): readonly Rule[] {
  if ([...settings].some(isFree)) return rules;
  const [kind] = kinds;
  if (kind !== undefined && kinds.size === 1 && settings.size === 0) return rulesConcerned(rules, kind);
  const concerned = new Set([...kinds].flatMap((one) => rulesConcerned(rules, one)));
  return rules.filter((rule) => concerned.has(rule) || readsSetting(rule, settings));
}

function* sidesOf(
  view: Mesh,
  changes: readonly Change[],
  { rules, budget }: { readonly rules: readonly Rule[]; readonly budget: Budget | undefined },
): Generator<void, Compared> {
  const mentioned = changes.map((change) => subjectOf(change).metadata.namespace);
  const before = sideOf(asRequested(view, changes, mentioned), budget?.spend);
  const gone = changes.filter(({ object }) => object === undefined).map(namespaceOf);
  const changed = overlay(
    before,
    changes,
    gone.some((name) => name !== undefined) ? without(mentioned, gone) : mentioned,
  );
  const { settings, differing } = settingsAfter(changed, changes);
  if (differing.size === 0)
    return compared({ before, after: changed, settings: differing, counted: [] }, changes, budget);
  const counted = yield* countedOtherwise(changed, settings, differing);
  const indexes = indexesRead(rules);
  const keyed = yield* keyedOtherwise(changed, settings, { indexes, differing });
  const entered = [...new Set([...counted, ...keyed])];
  const next = yield* withSettings(changed, settings, { entered, indexes });
  return compared({ before, after: next, settings: differing, counted }, changes, budget);
}

/** The name of a Namespace that is changed itself. */
const namespaceOf = (change: Change): string | undefined => {
  const { kind, metadata } = subjectOf(change);
  return kind === "Namespace" ? metadata.name : undefined;
};

/** A namespace that is deleted with everything in it is not there afterwards, not even as an implied one. */
const without = (mentioned: readonly string[], gone: readonly (string | undefined)[]): readonly string[] => {
  const names = new Set(gone);
  return mentioned.filter((name) => !names.has(name));
};

interface Compared extends Pick<Evaluation, "before" | "after"> {
  readonly settings: ReadonlySet<SettingName>;
  /** The objects that count in another way because of the changes, although their content is the same. */
  readonly counted: readonly AnyObject[];
  /** The kinds of these and of the changed objects. */
  readonly kinds: ReadonlySet<Kind>;
}

function compared(
  { before, after, settings, counted }: Omit<Compared, "kinds">,
  changes: readonly Change[],
  budget: Budget | undefined,
): Compared {
  const concerned = [...changes.map(subjectOf), ...counted];
  const kinds = new Set(concerned.map(({ kind }) => kind));
  const difference = { kinds: withImplied(kinds, concerned, { before, after }), settings };
  return { before, after: sideBeside(before, after, difference, budget?.spend), settings, counted, kinds };
}

/** The kinds of which both sides have other objects. Implied Namespaces come and go with the objects in them. */
function withImplied(
  kinds: ReadonlySet<Kind>,
  concerned: readonly AnyObject[],
  { before, after }: Pick<Compared, "before" | "after">,
): ReadonlySet<Kind> {
  if (kinds.has("Namespace")) return kinds;
  for (const namespace of new Set(concerned.map(({ metadata }) => metadata.namespace))) {
    const key = namespaceKey(namespace);
    if (before.find("Namespace", key) !== after.find("Namespace", key)) return new Set([...kinds, "Namespace"]);
  }
  return kinds;
}

interface Draft extends Evaluated {
  readonly findings: Finding[];
  readonly skipped: Skip[];
  readonly errors: RuleError[];
  readonly settings: Settings;
  readonly changed: ReadonlySet<AnyObject>;
  readonly pairs: Map<AnyObject, Pair>;
  readonly isScan: boolean;
}

const settingFor = (rule: Rule, [first]: readonly Change[], settings: Settings): RuleSetting =>
  settings.of(rule, subjectOf(first ?? {}));

/**
 * Reports that a rule was not evaluated because the budget was exceeded; the change is denied for that. It may affect
 * namespaces that are far from the changed object, so a policy for the namespace of that object alone lowers nothing.
 */
function notJudged(rule: Rule, changes: readonly Change[], error: BudgetExceeded, { settings, errors }: Draft): void {
  const [own, all] = [settingFor(rule, changes, settings), settings.everywhere(rule)];
  const ofOwn = own.ifProtected ?? own.mode;
  const mode = isAsStrict(ofOwn, all.mode) ? ofOwn : all.mode;
  if (mode === "off") return;
  const onError = own.onError === "warn" && all.onError === "warn" ? "warn" : "deny";
  errors.push({ rule, subject: subjectOf(changes[0] ?? {}), setting: { ...own, mode, onError }, error });
}

/** The view with the old objects of the request, which may be newer than the cached ones. */
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

interface NewSettings {
  readonly settings: AllMeshSettings;
  readonly differing: ReadonlySet<SettingName>;
}
const noSettings: ReadonlySet<SettingName> = new Set();

/** The settings after the changes, and in what they differ from those of the mesh before. */
function settingsAfter(after: Mesh, changes: readonly Change[]): NewSettings {
  const isTouched = changes.some(
    ({ old, object }) =>
      (old !== undefined && decidesSettings(old)) || (object !== undefined && decidesSettings(object)),
  );
  if (!isTouched) return { settings: after.settings, differing: noSettings };
  // A setting that no object contains is kept.
  const { domain } = after.settings;
  const settings = meshSettingsOf(settingsObjects(after), { ...defaultMeshSettings, domain });
  const differing = changedSettings(after.settings, settings);
  if (differing.has("injection")) return { settings, differing };
  // What is known of them stays known (hasSameInjectors).
  return { settings: { ...settings, injection: after.settings.injection }, differing };
}

/** A subject on both sides; most rules have the same one. */
interface Pair {
  readonly old: AnyObject | undefined;
  readonly now: AnyObject | undefined;
}
function pairOf(subject: AnyObject, { changed, pairs, before, after }: Draft): Pair {
  if (!changed.has(subject)) return { old: subject, now: subject };
  let pair = pairs.get(subject);
  if (pair === undefined) {
    const key = keyOf(subject);
    pair = { old: before.find(subject.kind, key), now: after.find(subject.kind, key) };
    pairs.set(subject, pair);
  }
  return pair;
}

/** What is left to do for a subject; undefined: nothing, as in most cases. */
function judgeSubject(rule: Rule, subject: AnyObject, draft: Draft): Generator<void, void> | undefined {
  const { old, now } = pairOf(subject, draft);
  if (now === undefined || !isJudgedBy(rule, now)) return undefined;
  if (rule.onlyWithFields !== undefined && !draft.isScan && !hasAnyField(now, rule.onlyWithFields)) return undefined;
  const setting = draft.settings.of(rule, now);
  if (setting.mode === "off") return undefined;
  const unknown = unknownFor(rule, now, draft.before);
  if (unknown !== undefined) return skipped({ rule, unknown, setting }, draft);
  const by = { rule, subject: now, setting };
  try {
    const found = findingsFor(by, old, draft);
    return found && collected(found, by, draft);
  } catch (error) {
    failed(error, by, draft);
    return undefined;
  }
}

/** Once for each rule, of which the subjects are evaluated one after the other. */
function skipped(skip: Skip, draft: Draft): undefined {
  if (draft.skipped.at(-1)?.rule !== skip.rule) draft.skipped.push(skip);
}

function* collected(found: Generator<void, readonly Finding[]>, by: FoundBy, draft: Draft): Generator<void, void> {
  try {
    // Not with spread arguments, because a hostile object can have more findings than a call can have arguments.
    for (const finding of yield* found) draft.findings.push(finding);
  } catch (error) {
    failed(error, by, draft);
  }
}

function failed(error: unknown, by: FoundBy, { errors }: Draft): void {
  if (error instanceof BudgetExceeded) throw error;
  errors.push({ ...by, error });
}

/** Only rules with judgesMalformed check an object that could be read only in part. */
export const isJudgedBy = (rule: Rule, subject: AnyObject): boolean =>
  subject.malformed === undefined || rule.judgesMalformed === true;
