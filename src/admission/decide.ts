import type { Witness } from "../engine/evidence.ts";
import type { Weighed } from "../engine/weigh.ts";
import { identityOf } from "../kube/identity.ts";
import { quoted } from "../text/printable.ts";
import { type BreakGlass, breakGlassOf } from "./break-glass.ts";
import { counted, denialMessage, warningLines } from "./denial-message.ts";
import type { Judgement } from "./judgement.ts";
import { eventsOf } from "./object-events.ts";
import type { AdmissionRequest, Decision } from "./review.ts";
import { type Verdict, verdictsOf, weighedFindings } from "./verdict.ts";
import { requesterOf } from "./writer.ts";

/** Pure. Everything that was found goes into one decision, most severe first. */
export function decide(judgement: Judgement): Decision {
  const { request, change, evaluation, policies } = judgement;
  const weighed = weighedFindings(judgement);
  const verdicts = verdictsOf(weighed, judgement);
  const denials = verdicts.filter(({ mode }) => mode === "deny");
  const glass = breakGlassOf(change, evaluation.before, requesterOf(request), policies);
  const reason = glass !== undefined && "reason" in glass && denials.length > 0 ? glass.reason : undefined;
  const denied = reason === undefined ? denials : [];
  const warnings = [
    ...notesOf(verdicts, glass, judgement),
    ...doubtedLine(verdicts),
    ...verdicts.filter((verdict) => isWarned(verdict, denied)).flatMap((one) => warningLines(one, judgement.changed)),
    ...skippedLine(judgement, denied),
  ];
  const outcome = outcomeOf(denied, warnings);
  const rules = distinct(verdicts.filter(({ source }) => source === "finding").map(({ rule }) => rule));
  const decision = {
    allowed: denied.length === 0,
    warnings,
    auditAnnotations: said({
      decision: outcome,
      rules: rules.join(","),
      "break-glass": reason,
      ...recorded(weighed, judgement),
    }),
    rules,
    ruleErrors: distinct(evaluation.errors.map(({ rule }) => rule.id)),
    outcome,
  };
  if (!decision.allowed) return { ...decision, message: messageOf(denied, judgement) };
  const events = eventsOf(verdicts, judgement, reason);
  return events.length === 0 ? decision : { ...decision, events };
}

/**
 * What a denial rests on and nothing else confirms: the witnesses of relational findings, and their subjects where the
 * request does not show them. The watch may lag behind, in both directions.
 */
export function doubtsOf(judgement: Judgement): readonly Witness[] {
  const denials = verdictsOf(weighedFindings(judgement), judgement).filter(({ mode }) => mode === "deny");
  if (denials.some((denial) => denial.class !== "relational")) return [];
  const changed = identityOf(judgement.changed);
  const subjects = denials.map(({ subject }) => subject).filter((subject) => identityOf(subject) !== changed);
  const witnesses = [...denials.flatMap(({ restsOn }) => restsOn), ...subjects];
  return witnesses.filter((witness) => "absent" in witness || (!witness.implied && identityOf(witness) !== changed));
}

/** Annotations that have something to say. */
const said = (annotations: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(annotations).flatMap(([key, value]) => (value ? [[key, value]] : [])));

const distinct = (values: readonly string[]): readonly string[] => [...new Set(values)].sort();

/** A denial that broken glass lets through is a warning. */
const isWarned = ({ mode }: Verdict, denied: readonly Verdict[]): boolean =>
  mode === "warn" || (mode === "deny" && denied.length === 0);

/** `error`: refused although nothing was found, because something could not be judged. */
function outcomeOf(denied: readonly Verdict[], warnings: readonly string[]): Decision["outcome"] {
  if (denied.some(({ source }) => source === "finding")) return "deny";
  if (denied.length > 0) return "error";
  return warnings.length > 0 ? "warn" : "allow";
}

/** What the user has to know about the warnings, before them. */
function notesOf(verdicts: readonly Verdict[], glass: BreakGlass | undefined, judgement: Judgement): readonly string[] {
  const denials = verdicts.filter(({ mode }) => mode === "deny").length;
  if (glass !== undefined && "reason" in glass)
    return denials === 0 ? spared(verdicts, judgement) : [broken(glass.reason, denials, judgement)];
  const refused = glass !== undefined && (glass.isNew || denials > 0) ? [glass.refused] : [];
  return [...refused, ...spared(verdicts, judgement)];
}

const broken = (reason: string, denials: number, { request }: Judgement): string =>
  `Glass broken by ${quoted(request.user.name)}, ${quoted(reason)}: ${denials} of these warnings would deny the change`;

/** A warning that is one only for this writer, or only for a dry run, looks harmless; it is not. */
function spared(verdicts: readonly Verdict[], judgement: Judgement): readonly string[] {
  const count = verdicts.filter(({ ruled, mode }) => ruled === "deny" && mode === "warn").length;
  if (count === 0) return [];
  return [`${count} of these warnings ${consequenceOf(judgement)}`];
}

function consequenceOf({ writer, policies, isUnconfirmed }: Judgement): string {
  if (writer === "reconciler" && policies.reconcilerMode === "warn")
    return "would deny a person; from a reconciler the rest of its set may follow";
  if (isUnconfirmed) return "would deny, had the API server confirmed in time what they rest on";
  return "will deny the change itself; this is a dry run";
}

/** What would take protection away, did the view know enough to say so for sure. */
function doubtedLine(verdicts: readonly Verdict[]): readonly string[] {
  const doubtful = verdicts.filter(({ doubted }) => doubted.length > 0);
  if (doubtful.length === 0) return [];
  const kinds = distinct(doubtful.flatMap(({ doubted }) => doubted));
  return [
    `${doubtful.length} of these warnings would deny, but what Meshward knows of ${kinds.join(", ")} is old or incomplete`,
  ];
}

function messageOf(denied: readonly Verdict[], { changed, request, writer }: Judgement): string {
  const isOrder = writer === "reconciler" && denied.some((verdict) => verdict.class === "relational");
  const hint = isOrder ? order[request.operation] : undefined;
  return denialMessage({ changed, operation: request.operation, notices: denied, hint });
}

const applyLast =
  "To apply a set in one go, let what this needs come first (Argo CD: a lower argocd.argoproj.io/sync-wave; Flux: dependsOn; Helm: an earlier release)";
/** What a reconciler can do that is denied like a person, by what it does. */
const order: Readonly<Record<AdmissionRequest["operation"], string>> = {
  CREATE: applyLast,
  UPDATE: applyLast,
  DELETE:
    "To change a set in one go, let what still uses this go or move on first (Argo CD: sync option PruneLast=true; Flux and Helm: in one revision what uses this, in the next this)",
};

const longestSkippedList = 90;

/** Unknown is not absent: at most one line on the rules that would have had a say. */
function skippedLine({ evaluation, selection, changed }: Judgement, denied: readonly Verdict[]): readonly string[] {
  const { before, after, skipped } = evaluation;
  const told = new Set(denied.map(({ rule }) => rule));
  const missed = skipped.filter(
    ({ rule }) => !told.has(rule.id) && selection.setting(rule, changed, before, after).mode === "deny",
  );
  if (missed.length === 0) return [];
  const kinds = distinct(missed.map(({ unknown }) => unknown));
  const ids = distinct(missed.map(({ rule }) => rule.id));
  const shown = ids.filter((_, i) => i === 0 || ids.slice(0, i + 1).join(", ").length <= longestSkippedList);
  const others = ids.length > shown.length ? ` and ${counted(ids.length - shown.length, "other rule")}` : "";
  return [`Not judged by ${shown.join(", ")}${others}: Meshward does not know any ${kinds.join(", ")} yet`];
}

/** What the audit log is told besides. */
function recorded(weighed: readonly Weighed[], { evaluation, writer }: Judgement): Readonly<Record<string, string>> {
  const exceptions = weighed.flatMap(({ exception }) => (exception === undefined ? [] : [exception.title]));
  const skipped = evaluation.skipped.map(({ rule, unknown }) => `${rule.id} (${unknown})`);
  return {
    writer: writer === "person" ? "" : writer,
    exceptions: distinct(exceptions).join(","),
    skipped: distinct(skipped).join(","),
  };
}
