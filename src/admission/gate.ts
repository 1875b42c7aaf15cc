import { judge } from "../engine/evaluate.ts";
import type { Rule } from "../engine/rule.ts";
import { selectionOf } from "../engine/select.ts";
import { idOf } from "../kube/kinds.ts";
import type { Mesh } from "../mesh/view.ts";
import type { Policies } from "../policy/policies.ts";
import { notJudged, notMutated } from "./answer.ts";
import { readChange } from "./change.ts";
import { decide } from "./decide.ts";
import { enroll } from "./enrollment.ts";
import { judgementOf } from "./judgement.ts";
import type { AdmissionRequest, Decision } from "./review.ts";
import { requesterOf } from "./writer.ts";

export interface GateParts {
  /** The mesh and the policies as they are now: asked for each request. */
  readonly mesh: () => Mesh;
  readonly policies: () => Policies;
  readonly rules: readonly Rule[];
  readonly now?: () => Date;
  /** Namespaces, besides the mesh's root, that the mutation never touches: Meshward's own. */
  readonly neverEnrolled?: readonly string[];
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
export function createGate(parts: GateParts): SynchronousGate {
  return {
    validate: (request) => guarded(() => validate(request, parts), request, parts, notJudged),
    mutate: (request) => guarded(() => mutate(request, parts), request, parts, notMutated),
  };
}

function guarded(
  answer: () => Decision,
  { uid }: AdmissionRequest,
  { log }: GateParts,
  otherwise: (problem: string) => Decision,
): Decision {
  try {
    return answer();
  } catch (error) {
    log?.error({ uid, ...described(error) }, "admission failed");
    return otherwise(`an internal error stopped it; Meshward's log says more at uid ${uid}`);
  }
}

function validate(request: AdmissionRequest, { mesh, rules, policies, now, log }: GateParts): Decision {
  const view = mesh();
  const reading = readChange(request, view);
  if ("problem" in reading) return notJudged(reading.problem);
  if ("unjudged" in reading) return unjudged(reading.unjudged, reading.warning);
  const { change } = reading;
  const inForce = policies();
  const selection = selectionOf(inForce, requesterOf(request), now?.() ?? new Date());
  const evaluation = judge(rules, view, [change], selection);
  for (const { rule, subject, error } of evaluation.errors)
    log?.error({ uid: request.uid, rule: rule.id, subject: idOf(subject), ...described(error) }, "rule failed");
  return decide(judgementOf({ request, change, evaluation, selection, policies: inForce }));
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
