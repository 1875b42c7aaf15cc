import { namespaceKey } from "../kube/identity.ts";
import { breakGlassAnnotation } from "../kube/meshward-metadata.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Requester } from "../policy/match.ts";
import type { Policies } from "../policy/policies.ts";
import { quoted } from "../text/printable.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";

const annotation = breakGlassAnnotation.key;

/** A request to turn denials into warnings: granted with its reason, or refused with an explanation. */
export type BreakGlass = { readonly reason: string } | { readonly refused: string; readonly isNew: boolean };

/**
 * Reads the annotation of the new object or, for a deletion, of the Namespace. Every request needs a requester with the
 * permission, so an annotation that remains on the object has no effect for other users.
 */
export function breakGlassOf(
  change: Change,
  before: Mesh,
  requester: Requester,
  policies: Pick<Policies, "mayBreakGlass">,
): BreakGlass | undefined {
  const bearer = change.object ?? namespaceOf(subjectOf(change), before);
  const reason = bearer?.metadata.annotations[annotation];
  if (reason === undefined) return change.object === undefined ? misplaced(change) : undefined;
  const isNew = change.object !== undefined && change.old?.metadata.annotations[annotation] !== reason;
  if (!policies.mayBreakGlass(requester)) {
    const refused = `${annotation} has no effect: ${quoted(requester.user)} is in no group that a policy allows to use break glass`;
    return { refused, isNew };
  }
  return reason.trim() === ""
    ? { refused: `${annotation} has no effect: its value must be the reason`, isNew }
    : { reason };
}

/** The annotation of an object that is deleted. */
const misplaced = ({ old }: Change): BreakGlass | undefined =>
  old?.metadata.annotations[annotation] === undefined
    ? undefined
    : { refused: `${annotation} has no effect on an object that is deleted: set it on its Namespace`, isNew: false };

function namespaceOf(subject: AnyObject, mesh: Mesh): AnyObject | undefined {
  const { kind, metadata } = subject;
  return mesh.find("Namespace", namespaceKey(kind === "Namespace" ? metadata.name : metadata.namespace));
}
