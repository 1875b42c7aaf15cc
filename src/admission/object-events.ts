import type { Ruling } from "../engine/ruling.ts";
import type { EventReason, ObjectEvent, ObjectReference } from "../kube/object-event.ts";
import type { AnyObject } from "../kube/object.ts";
import { counted } from "../text/phrases.ts";
import { printableText, quoted } from "../text/printable.ts";
import type { Judgement } from "./judgement.ts";
import { placeOf } from "./message.ts";

/** The reason of the Event that reports each use of break glass. */
export const breakGlassUsed: EventReason = "BreakGlassUsed";
/** The reason of the Event that reports findings which only warned a reconciler. */
const reconcilerWarned: EventReason = "ReconcilerWarned";

/** The API server rejects an Event with a note of more than 1 KiB (k8s.io/kubernetes pkg/apis/core/validation/events.go). */
const longestNoteBytes = 1_000;

/**
 * Events about a change that was admitted although it would otherwise be denied, because warnings to a program are not
 * read by people. One Event for each rule. `reason` is the reason for break glass. A dry run creates no Events.
 */
export function eventsOf(
  rulings: readonly Ruling[],
  judgement: Judgement,
  reason: string | undefined,
): readonly ObjectEvent[] {
  if (judgement.request.dryRun) return [];
  if (reason !== undefined) return [ofBreakGlass(rulings, judgement, reason)];
  if (judgement.writer !== "reconciler") return [];
  const warned = rulings.filter(({ lowered }) =>
    lowered.some(({ step, from }) => step === "reconciler" && from === "deny"),
  );
  const byRule = Map.groupBy(warned, ({ finding }) => finding.rule);
  return [...byRule.values()].flatMap((ofRule) => ofReconciler(ofRule, judgement));
}

function ofBreakGlass(rulings: readonly Ruling[], { changed, request }: Judgement, reason: string): ObjectEvent {
  const excused = rulings.filter(({ lowered }) => lowered.some(({ step }) => step === "breakGlass"));
  const rules = [...new Set(excused.map(({ finding }) => finding.rule.id))].join(", ");
  const note = `${quoted(request.user.name)} used break glass (${quoted(reason)}): ${request.operation} was admitted despite ${counted(excused.length, "problem")} (${rules})`;
  return { reason: breakGlassUsed, rule: "", note: noteOf(note), regarding: referenceTo(changed) };
}

function ofReconciler([first, ...others]: readonly Ruling[], { changed, request }: Judgement): readonly ObjectEvent[] {
  if (first === undefined) return [];
  const { finding } = first;
  const { id } = finding.rule;
  const more = others.length === 0 ? "" : ` (and ${counted(others.length, "more problem")} of this rule)`;
  const note = `${id}: ${placeOf(finding, changed)}${finding.message}${more}. The change was admitted because ${quoted(request.user.name)} may still apply the missing objects; it would be denied for a person. Fix: ${finding.fix ?? finding.rule.fix}`;
  return [{ reason: reconcilerWarned, rule: id, note: noteOf(note), regarding: referenceTo(changed) }];
}

/** A note that the API server accepts. */
export const noteOf = (note: string): string => printableText(note.replaceAll("\n", " "), longestNoteBytes);

export const referenceTo = ({ apiVersion, originKind, metadata }: AnyObject): ObjectReference => ({
  apiVersion,
  kind: originKind,
  namespace: metadata.namespace,
  name: metadata.name,
  uid: metadata.uid,
});
