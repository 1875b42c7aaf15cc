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
 * Makes one decision from all rulings, most severe first. Pure. `pageOf` returns the URL of a rule's page.
 */
export function decide(
  judgement: Judgement,
  rulings: readonly Ruling[],
  pageOf?: (ruleId: string) => string,
): Decision {
  const { evaluation, breakGlass, writer } = judgement;
  if (rulings.length === 0 && evaluation.skipped.length === 0 && breakGlass === undefined) return nothingFound(writer);
  const denied = rulings.filter(({ mode }) => mode === "deny");
  const excused = rulings.filter((ruling) => isLoweredBy(ruling, "breakGlass"));
  const reason = breakGlass && "reason" in breakGlass ? breakGlass.reason : undefined;
  const usedReason = excused.length > 0 ? reason : undefined;
  const warned = rulings.filter(({ mode }) => mode === "warn");
  const warnings = [
    ...breakGlassNotes(denied, excused, judgement),
    ...warned.slice(0, mostWarned).flatMap((ruling) => warningLines(ruling, judgement.changed)),
    ...skippedNotes(judgement, denied),
  ];
  const outcome = outcomeOf(denied, warnings);
  const found = rulings.filter(({ finding, mode }) => mode !== "off" && finding.undecided === undefined);
  const rules = distinct(found.map(({ finding }) => finding.rule.id));
  const decision = {
    allowed: denied.length === 0,
    warnings,
    moreWarnings: countOf(warned.slice(mostWarned).map(({ finding }) => finding)),
    auditAnnotations: annotations({
      decision: outcome,
      rules: rules.join(","),
      "break-glass": usedReason,
      lowered: loweredText(rulings),
      writer: writer === "person" ? "" : writer,
      exceptions: distinct(rulings.flatMap(({ exception }) => exception?.title ?? [])).join(","),
      skipped: distinct(judgement.evaluation.skipped.map(({ rule, unknown }) => `${rule.id} (${unknown})`)).join(","),
    }),
    rules,
    ruleErrors: ruleErrorsOf(judgement.evaluation.errors),
    skipped: evaluation.skipped.map(({ rule, unknown }) => ({ rule: rule.id, kind: unknown })),
    wouldDeny: wouldDeny(judgement, rulings),
    outcome,
  };
  if (!decision.allowed) return { ...decision, message: messageOf(denied, judgement, pageOf) };
  const events = eventsOf(rulings, judgement, usedReason);
  return events.length === 0 ? decision : { ...decision, events };
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

const distinct = (values: readonly string[]): readonly string[] => [...new Set(values)].sort();

/** The rules whose mode was lowered, and the step: `virtual-service-subset-not-found: reconciler`. */
const loweredText = (rulings: readonly Ruling[]): string =>
  distinct(
    rulings.flatMap(({ finding, lowered, mode }) =>
      mode === "off" ? [] : lowered.map(({ step }) => `${finding.rule.id}: ${step}`),
    ),
  ).join(", ");

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
function skippedNotes({ evaluation, changed }: Judgement, denied: readonly Ruling[]): readonly string[] {
  const told = new Set(denied.map(({ finding }) => finding.rule.id));
  const missed = evaluation.skipped.filter(({ rule, setting }) => !told.has(rule.id) && setting?.mode === "deny");
  if (missed.length === 0) return [];
  const kinds = distinct(missed.map(({ unknown }) => unknown));
  const ids = distinct(missed.map(({ rule }) => rule.id));
  const shown = ids.filter((_, i) => i === 0 || ids.slice(0, i + 1).join(", ").length <= longestSkippedList);
  const others = ids.length > shown.length ? ` and ${counted(ids.length - shown.length, "other rule")}` : "";
  const text = `Not checked by ${shown.join(", ")}${others}: Meshward does not know any ${kinds.join(", ")} yet`;
  return [noteLine(text, changed)];
}
