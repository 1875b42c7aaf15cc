import type { ObjectEvent, ObjectReference } from "../kube/object-event.ts";
import type { AnyObject } from "../kube/object.ts";
import { printableText, quoted } from "../text/printable.ts";
import { counted, placeOf } from "./denial-message.ts";
import type { Judgement } from "./judgement.ts";
import type { Verdict } from "./verdict.ts";

/** The reason of the Event that tells of each use of break glass. */
export const glassBroken = "GlassBroken";
/** The reason of the Event that tells what only warned a reconciler. */
const reconcilerWarned = "ReconcilerWarned";

/** An Event's note is cut off by nobody: one of more than 1 KiB is refused (k8s.io/kubernetes pkg/apis/core/validation/events.go). */
const longestNoteBytes = 1_000;

/**
 * What was let through although it would have been denied, and that nobody may have read: warnings reach whoever sent
 * the change, which is a program. One a rule. `glass` is the reason for which glass was broken. Nothing happens in a dry run.
 */
export function eventsOf(
  verdicts: readonly Verdict[],
  judgement: Judgement,
  glass: string | undefined,
): readonly ObjectEvent[] {
  if (judgement.request.dryRun) return [];
  if (glass !== undefined) return [ofGlass(verdicts, judgement, glass)];
  if (judgement.writer !== "reconciler") return [];
  const spared = verdicts.filter(
    ({ class: of, ruled, mode }) => of === "relational" && ruled === "deny" && mode === "warn",
  );
  const rules = new Set(spared.map(({ rule }) => rule));
  return [...rules].flatMap((rule) =>
    ofReconciler(
      spared.filter((one) => one.rule === rule),
      judgement,
    ),
  );
}

function ofGlass(verdicts: readonly Verdict[], { changed, request }: Judgement, reason: string): ObjectEvent {
  const denials = verdicts.filter(({ mode }) => mode === "deny");
  const rules = [...new Set(denials.map(({ rule }) => rule))].join(", ");
  const note = `${quoted(request.user.name)} broke glass, ${quoted(reason)}: ${request.operation} let through despite ${counted(denials.length, "problem")} (${rules})`;
  return { reason: glassBroken, rule: "", note: bounded(note), regarding: referenceTo(changed) };
}

function ofReconciler([first, ...others]: readonly Verdict[], { changed, request }: Judgement): readonly ObjectEvent[] {
  if (first === undefined) return [];
  const more = others.length === 0 ? "" : ` (and ${counted(others.length, "more problem")} of this rule)`;
  const note = `${first.rule}: ${placeOf(first, changed)}${first.message}${more}. Let through because ${quoted(request.user.name)} applies a set in its own order; a person would be denied. Fix: ${first.fix}`;
  return [{ reason: reconcilerWarned, rule: first.rule, note: bounded(note), regarding: referenceTo(changed) }];
}

const bounded = (note: string): string => printableText(note.replaceAll("\n", " "), longestNoteBytes);

const referenceTo = ({ apiVersion, originKind, metadata }: AnyObject): ObjectReference => ({
  apiVersion,
  kind: originKind,
  namespace: metadata.namespace,
  name: metadata.name,
  uid: metadata.uid,
});
