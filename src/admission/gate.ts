import { judge } from "../engine/evaluate.ts";
import type { Witness } from "../engine/evidence.ts";
import type { Rule } from "../engine/rule.ts";
import { selectionOf } from "../engine/select.ts";
import { idOf } from "../kube/identity.ts";
import type { Policies } from "../policy/policies.ts";
import { type Change, overlay } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import { notJudged, notMutated } from "./answer.ts";
import { readChange } from "./change.ts";
import { decide, doubtsOf } from "./decide.ts";
import { enroll } from "./enrollment.ts";
import { type Judgement, judgementOf } from "./judgement.ts";
import type { AdmissionRequest, Decision, Gate } from "./review.ts";
import { requesterOf } from "./writer.ts";

export interface GateParts {
  /** The mesh and the policies as they are now: asked for each request. */
  readonly mesh: () => Mesh;
  readonly policies: () => Policies;
  readonly rules: readonly Rule[];
  readonly now?: () => Date;
  /** Namespaces, besides the mesh's root, that the mutation never touches: Meshward's own. */
  readonly neverEnrolled?: readonly string[];
  /**
   * What the API server holds now of what a denial rests on, to lay over the mesh; undefined: it did not say in time.
   * Without this the mesh is the truth.
   */
  readonly readAgain?: ((witnesses: readonly Witness[]) => Promise<readonly Change[] | undefined>) | undefined;
  /** Where errors go that no answer can carry. */
  readonly log?: { error(fields: object, message: string): void };
}

/** Answers at once: nothing that it asks has to be waited for. */
export interface SynchronousGate {
  validate(request: AdmissionRequest): Decision;
  mutate(request: AdmissionRequest): Decision;
}

/**
 * Neither method throws. What goes wrong refuses the one request that it goes wrong on; the mutation leaves it as it is,
 * for it guards nothing.
 */
export function createGate(parts: GateParts & { readonly readAgain?: undefined }): SynchronousGate;
export function createGate(parts: GateParts): Gate;
export function createGate(parts: GateParts): Gate {
  return {
    validate: (request) => guarded(() => validate(request, parts), request, parts, notJudged),
    mutate: (request) => guarded(() => mutate(request, parts), request, parts, notMutated),
  };
}

function guarded(
  answer: () => Decision | Promise<Decision>,
  { uid }: AdmissionRequest,
  { log }: GateParts,
  otherwise: (problem: string) => Decision,
): Decision | Promise<Decision> {
  const failed = (error: unknown): Decision => {
    log?.error({ uid, ...described(error) }, "admission failed");
    return otherwise(`an internal error stopped it; Meshward's log says more at uid ${uid}`);
  };
  try {
    const decision = answer();
    return decision instanceof Promise ? decision.catch(failed) : decision;
  } catch (error) {
    return failed(error);
  }
}

function validate(request: AdmissionRequest, parts: GateParts): Decision | Promise<Decision> {
  const view = parts.mesh();
  const reading = readChange(request, view);
  if ("problem" in reading) return notJudged(reading.problem);
  if ("unjudged" in reading) return unjudged(reading.unjudged, reading.warning);
  const first = judged(request, reading.change, view, parts);
  const decision = decide(first);
  const doubts = decision.allowed || parts.readAgain === undefined ? [] : doubtsOf(first);
  return doubts.length === 0 ? decision : confirmed(first, doubts, parts);
}

function judged(request: AdmissionRequest, change: Change, view: Mesh, parts: GateParts): Judgement {
  const { rules, policies, now, log } = parts;
  const inForce = policies();
  const selection = selectionOf(inForce, requesterOf(request), now?.() ?? new Date());
  const evaluation = judge(rules, view, [change], selection);
  for (const { rule, subject, error } of evaluation.errors)
    log?.error({ uid: request.uid, rule: rule.id, subject: idOf(subject), ...described(error) }, "rule failed");
  return judgementOf({ request, change, evaluation, selection, policies: inForce });
}

/** The same change over what the API server holds now. A live read never enters the store: an older event would undo it. */
async function confirmed(first: Judgement, doubts: readonly Witness[], parts: GateParts): Promise<Decision> {
  const live = await parts.readAgain?.(doubts).catch((error: unknown) => {
    parts.log?.error({ uid: first.request.uid, ...described(error) }, "what a denial rests on could not be read again");
    return undefined;
  });
  if (live === undefined) return { ...decide({ ...first, isUnconfirmed: true }), liveRead: "late" };
  const decision = decide(judged(first.request, first.change, overlay(parts.mesh(), live), parts));
  return { ...decision, liveRead: decision.allowed ? "changed" : "confirmed" };
}

function unjudged(reason: string, warning: string | undefined): Decision {
  const outcome = warning === undefined ? "allow" : "warn";
  return {
    allowed: true,
    warnings: warning === undefined ? [] : [warning],
    auditAnnotations: { decision: outcome, unjudged: reason },
    rules: [],
    outcome,
  };
}

const mutate = (request: AdmissionRequest, { mesh, policies, neverEnrolled = [] }: GateParts): Decision =>
  enroll(request, policies(), [mesh().settings.rootNamespace, ...neverEnrolled]);

const described = (error: unknown): { error: string; stack?: string | undefined } =>
  error instanceof Error ? { error: error.message, stack: error.stack } : { error: String(error) };
