import { BudgetExceeded } from "../engine/budget.ts";
import type { RuleError } from "../engine/evaluate.ts";
import type { Evidence } from "../engine/evidence.ts";
import type { Ruling, StepName } from "../engine/ruling.ts";
import { identityOf } from "../kube/identity.ts";
import { counted } from "../text/phrases.ts";
import { quoted } from "../text/printable.ts";
import type { AuditAnnotations } from "./audit-annotations.ts";
import { type Judgement, wouldDeny } from "./judgement.ts";
import { countOf, denialMessage, noteLine, warningLines } from "./message.ts";
import { eventsOf } from "./object-events.ts";
import type { AdmissionRequest, Decision } from "./review.ts";

/** The response contains ten warnings, so the texts of the others are not created. */
const mostWarned = 100;

/**
 * Makes one decision from all rulings, most severe first. Pure. `pageOf` returns the URL of a rule's page. Yields in between.
 */
export function* decide(
  judgement: Judgement,
  all: readonly Ruling[],
  pageOf?: (ruleId: string) => string,
): Generator<void, Decision> {
  const { evaluation, breakGlass, writer } = judgement;
  // A change that concerns the whole mesh finds thousands of problems that were there before, and says nothing of them.
  const rulings = all.filter((ruling) => !isLoweredBy(ruling, "otherObject"));
  if (isNothing(rulings, judgement)) return nothingFound(writer);
  const { denied, warned, excused, ...found } = yield* tallied(rulings);
  const reason = breakGlass && "reason" in breakGlass ? breakGlass.reason : undefined;
  const usedReason = excused.length > 0 ? reason : undefined;
  const warnings = [
    ...breakGlassNotes(denied, excused, judgement),
    ...warned.slice(0, mostWarned).flatMap((ruling) => warningLines(ruling, judgement.changed)),
    ...skippedNotes(judgement, found.denying),
  ];
  const outcome = outcomeOf(denied, warnings);
  const rules = sorted(found.rules);
  const decision = {
    allowed: denied.length === 0,
    warnings,
    moreWarnings: countOf(warned.slice(mostWarned).map(({ finding }) => finding)),
    auditAnnotations: annotations({
      decision: outcome,
      rules: rules.join(","),
      "break-glass": usedReason,
      lowered: loweredText(found.lowered),
      writer: writer === "person" ? "" : writer,
      exceptions: sorted(found.exceptions).join(","),
      skipped: distinct(judgement.evaluation.skipped.map(({ rule, unknown }) => `${rule.id} (${unknown})`)).join(","),
    }),
    rules,
    ruleErrors: ruleErrorsOf(judgement.evaluation.errors),
    skipped: evaluation.skipped.map(({ rule, unknown }) => ({ rule: rule.id, kind: unknown })),
    wouldDeny: yield* wouldDeny(judgement, rulings),
    outcome,
  };
  if (!decision.allowed) return { ...decision, message: messageOf(denied, judgement, pageOf) };
  const events = eventsOf(rulings, judgement, usedReason);
  return events.length === 0 ? decision : { ...decision, events };
}

/** What a decision says of all rulings, most severe first. */
interface Tally {
  readonly denied: Ruling[];
  readonly warned: Ruling[];
  /** Those that would deny without break glass. */
  readonly excused: Ruling[];
  /** The ids of the rules that deny, also because they failed. */
  readonly denying: Set<string>;
  /** The ids of the rules with findings. */
  readonly rules: Set<string>;
  /** The steps that lowered the mode, by the id of the rule. */
  readonly lowered: Map<string, Set<StepName>>;
  readonly exceptions: Set<string>;
}

/** So many rulings take about a millisecond. */
const talliedAtOnce = 2_000;

function* tallied(rulings: readonly Ruling[]): Generator<void, Tally> {
  const tally: Tally = {
    ...{ denied: [], warned: [], excused: [], denying: new Set<string>(), rules: new Set<string>() },
    ...{ lowered: new Map<string, Set<StepName>>(), exceptions: new Set<string>() },
  };
  for (const [i, ruling] of rulings.entries()) {
    if ((i + 1) % talliedAtOnce === 0) yield;
    if (isLoweredBy(ruling, "breakGlass")) tally.excused.push(ruling);
    if (ruling.exception !== undefined) tally.exceptions.add(ruling.exception.title);
    if (ruling.mode !== "off") addTo(tally, ruling);
  }
  return tally;
}

function addTo({ denied, warned, denying, rules, lowered }: Tally, ruling: Ruling): void {
  const { finding, mode } = ruling;
  const { id } = finding.rule;
  if (finding.undecided === undefined) rules.add(id);
  if (mode === "warn") warned.push(ruling);
  if (mode === "deny") {
    denied.push(ruling);
    denying.add(id);
  }
  for (const { step } of ruling.lowered) {
    const steps = lowered.get(id);
    if (steps === undefined) lowered.set(id, new Set([step]));
    else steps.add(step);
  }
}

/**
 * The objects that a denial depends on and that the request does not contain: the evidence and the subjects of relational
 * findings, which the cached data may lack or still contain. Empty if another finding denies anyway.
 */
export function evidenceToConfirm({ changed }: Judgement, rulings: readonly Ruling[]): readonly Evidence[] {
  const denials = rulings.filter(({ mode }) => mode === "deny").map(({ finding }) => finding);
  if (denials.some((finding) => finding.class !== "relational")) return [];
  const own = identityOf(changed);
  const subjects = denials.map(({ subject }) => subject).filter((subject) => identityOf(subject) !== own);
  // Many findings share their evidence, which can be long.
  const lists = new Set(denials.map((finding) => finding.evidence ?? []));
  const evidence = new Set([...lists].flat().concat(subjects));
  return [...evidence].filter((one) => "absent" in one || (!one.implied && identityOf(one) !== own));
}

/** One entry for each rule. */
function ruleErrorsOf(errors: readonly RuleError[]): NonNullable<Decision["ruleErrors"]> {
  const reasons = new Map(
    errors.map(({ rule, error }) => [
      rule.id,
      error instanceof BudgetExceeded ? ("budget" as const) : ("error" as const),
    ]),
  );
  return [...reasons].map(([rule, reason]) => ({ rule, reason }));
}

const isLoweredBy = ({ lowered }: Ruling, step: StepName): boolean => lowered.some((one) => one.step === step);

const isNothing = (rulings: readonly Ruling[], { evaluation, breakGlass }: Judgement): boolean =>
  rulings.length + evaluation.skipped.length + evaluation.errors.length === 0 && breakGlass === undefined;

/** The most frequent decision. */
const nothingFound = (writer: Judgement["writer"]): Decision => ({
  allowed: true,
  warnings: [],
  auditAnnotations: annotations({ decision: "allow", writer: writer === "person" ? "" : writer }),
  rules: [],
  outcome: "allow",
});

/** The annotations with a value. */
function annotations(values: { readonly [Key in keyof AuditAnnotations]: string | undefined }): AuditAnnotations {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value));
}

const distinct = (values: readonly string[]): readonly string[] => sorted(new Set(values));
const sorted = (values: Iterable<string>): readonly string[] => [...values].sort();

/** The rules whose mode was lowered, and the step: `virtual-service-subset-not-found: reconciler`. */
const loweredText = (lowered: Tally["lowered"]): string =>
  sorted([...lowered].flatMap(([id, steps]) => [...steps].map((step) => `${id}: ${step}`))).join(", ");

/** `error`: denied without a finding, because a rule could not be evaluated. */
function outcomeOf(denied: readonly Ruling[], warnings: readonly string[]): Decision["outcome"] {
  if (denied.some(({ finding }) => finding.undecided === undefined)) return "deny";
  if (denied.length > 0) return "error";
  return warnings.length > 0 ? "warn" : "allow";
}

/** Notes about break glass, which precede the warnings. */
function breakGlassNotes(
  denied: readonly Ruling[],
  excused: readonly Ruling[],
  { breakGlass, changed, request }: Judgement,
): readonly string[] {
  if (breakGlass === undefined) return [];
  if ("refused" in breakGlass)
    return breakGlass.isNew || denied.length > 0 ? [noteLine(breakGlass.refused, changed)] : [];
  if (excused.length === 0) return [];
  const text = `${quoted(request.user.name)} uses break glass (${quoted(breakGlass.reason)}): ${excused.length} of these warnings would deny the change`;
  return [noteLine(text, changed)];
}

function messageOf(
  denied: readonly Ruling[],
  { changed, request, writer }: Judgement,
  pageOf: ((ruleId: string) => string) | undefined,
): string {
  const isOrder = writer === "reconciler" && denied.some(({ finding }) => finding.class === "relational");
  const hint = isOrder ? order[request.operation] : undefined;
  const findings = denied.map(({ finding }) => finding);
  return denialMessage({ changed, operation: request.operation, findings, hint, pageOf });
}

const applyLast =
  "To apply a set in one operation, apply the objects that this one needs first (Argo CD: a lower argocd.argoproj.io/sync-wave; Flux: dependsOn; Helm: an earlier release)";
/** The hint for a reconciler that is denied like other users, by operation. */
const order: Readonly<Record<AdmissionRequest["operation"], string>> = {
  CREATE: applyLast,
  UPDATE: applyLast,
  DELETE:
    "To change a set in one operation, remove or change the objects that still use this one first (Argo CD: sync option PruneLast=true; Flux and Helm: remove the users in one revision and this object in the next)",
};

const longestSkippedList = 90;

/** At most one warning about the rules that were skipped because a kind is unknown. */
function skippedNotes({ evaluation, changed }: Judgement, told: ReadonlySet<string>): readonly string[] {
  const missed = evaluation.skipped.filter(({ rule, setting }) => !told.has(rule.id) && setting?.mode === "deny");
  if (missed.length === 0) return [];
  const kinds = distinct(missed.map(({ unknown }) => unknown));
  const ids = distinct(missed.map(({ rule }) => rule.id));
  const shown = ids.filter((_, i) => i === 0 || ids.slice(0, i + 1).join(", ").length <= longestSkippedList);
  const others = ids.length > shown.length ? ` and ${counted(ids.length - shown.length, "other rule")}` : "";
  const text = `Not checked by ${shown.join(", ")}${others}: Meshward does not know any ${kinds.join(", ")} yet`;
  return [noteLine(text, changed)];
}
