import type { Evaluation } from "../engine/evaluate.ts";
import type { PolicySelection } from "../engine/select.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Policies } from "../policy/policies.ts";
import { type Change, subjectOf } from "../view/overlay.ts";
import type { AdmissionRequest } from "./review.ts";
import { requesterOf, type Writer, writerOf } from "./writer.ts";

/**
 * Everything that a decision rests on. A second look takes no more than judging the same change over a fresher mesh,
 * and deciding again.
 */
export interface Judgement {
  readonly request: AdmissionRequest;
  readonly change: Change;
  readonly evaluation: Evaluation;
  readonly selection: PolicySelection;
  readonly policies: Policies;
  readonly writer: Writer;
  /** The object that the request changes, as it will be; as it was, where it goes. */
  readonly changed: AnyObject;
  /** What relational findings rest on could not be read again in time, so they deny nothing. */
  readonly isUnconfirmed?: true;
}

export function judgementOf(judgement: Omit<Judgement, "writer" | "changed">): Judgement {
  const { request, policies, evaluation, change } = judgement;
  const writer = writerOf(requesterOf(request), policies, evaluation.before.settings);
  return { ...judgement, writer, changed: subjectOf(change) };
}
