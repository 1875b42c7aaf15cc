import type { BudgetLimits } from "../engine/budget.ts";
import { keptFieldsOf, rulesInForce } from "../custom-rules/in-force.ts";
import type { Evaluation } from "../engine/evaluate.ts";
import type { Evidence } from "../engine/evidence.ts";
import type { Rule } from "../engine/rule.ts";
import { selectionOf } from "../engine/setting.ts";
import { idOf } from "../kube/identity.ts";
import type { Policies } from "../policy/policies.ts";
import { type Change, overlay } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import { notJudged, notMutated } from "./answer.ts";
import { readChange } from "./change.ts";
import { decide, evidenceToConfirm } from "./decide.ts";
import { enroll } from "./enrollment.ts";
import { type Judgement, judgementOf, rulingsFor } from "./judgement.ts";
import { type Pauses, Reviews } from "./reviews.ts";
import type { AdmissionRequest, Decision, Gate } from "./review.ts";
import { TooManyWaiting } from "./turns.ts";
import { requesterOf } from "./writer.ts";

export interface GateParts {
  /** Returns the current mesh; called for each request. The same applies to `policies`. */
  readonly mesh: () => Mesh;
  readonly policies: () => Policies;
  readonly rules: readonly Rule[];
  readonly now?: () => Date;
  /** Namespaces that the mutation never changes, in addition to the root namespace: Meshward's own. */
  readonly neverEnrolled?: readonly string[];
  /**
   * Reads the evidence of a denial again from the API server, as changes to apply to the mesh; undefined: it did not answer
   * in time. Without this function, the cached data is used.
   */
  readonly readAgain?: ((evidence: readonly Evidence[]) => Promise<readonly Change[] | undefined>) | undefined;
  /** The budget of CPU time for a review, and how it yields. Default: no limit, without yielding. */
  readonly pacing?: (BudgetLimits & Pauses) | undefined;
  /** Returns the URL of a rule's page, for messages. */
  readonly pageOf?: ((ruleId: string) => string) | undefined;
  /** The log for errors that a response cannot contain. */
  readonly log?: { error(fields: object, message: string): void };
}

/** A gate that answers synchronously. */
export interface SynchronousGate {
  validate(request: AdmissionRequest): Decision;
  mutate(request: AdmissionRequest): Decision;
}

/**
 * Neither method throws. After an error, `validate` denies the request, and `mutate` leaves the object unchanged, because
 * the mutation protects nothing.
 */
export function createGate(
  parts: GateParts & { readonly readAgain?: undefined; readonly pacing?: undefined },
): SynchronousGate;
export function createGate(parts: GateParts): Gate;
export function createGate(parts: GateParts): Gate {
  const reviews = new Reviews(parts);
  return {
    validate: (request) => withoutThrowing(() => validate(request, parts, reviews), request, parts, notJudged),
    mutate: (request) => withoutThrowing(() => mutate(request, parts), request, parts, notMutated),
  };
}

function withoutThrowing(
  answer: () => Decision | Promise<Decision>,
  { uid }: AdmissionRequest,
  { log }: GateParts,
  otherwise: (problem: string) => Decision,
): Decision | Promise<Decision> {
  const failed = (error: unknown): Decision => {
    if (error instanceof TooManyWaiting) return otherwise(`${error.message}; try again later`);
    log?.error({ uid, ...described(error) }, "admission failed");
    return otherwise(`an internal error occurred; see Meshward's log for uid ${uid}`);
  };
  try {
    const decision = answer();
    return decision instanceof Promise ? decision.catch(failed) : decision;
  } catch (error) {
    return failed(error);
  }
}

/** Continues synchronously if the value is available, because most reviews do not yield. */
function goOn<T, U>(value: T | Promise<T>, use: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then((known) => use(known)) : use(value);
}

function validate(request: AdmissionRequest, parts: GateParts, reviews: Reviews): Decision | Promise<Decision> {
  const rules = rulesInForce(parts.rules, parts.policies());
  const reading = readChange(request, parts.mesh(), keptFieldsOf(rules));
  if ("problem" in reading) return notJudged(reading.problem);
  if ("unjudged" in reading) return unjudged(reading.unjudged, reading.warning);
  const look = { request, change: reading.change, parts, reviews };
  return goOn(judged(look, parts.mesh), (first) => {
    const rulings = rulingsFor(first);
    const decision = decide(first, rulings, parts.pageOf);
    const evidence = decision.allowed || parts.readAgain === undefined ? [] : evidenceToConfirm(first, rulings);
    return evidence.length === 0 ? decision : confirmed(first, evidence, look);
  });
}

interface Look {
  readonly request: AdmissionRequest;
  readonly change: Change;
  readonly parts: GateParts;
  readonly reviews: Reviews;
}

function judged({ request, change, parts, reviews }: Look, mesh: () => Mesh): Judgement | Promise<Judgement> {
  const { policies, now, log } = parts;
  const inForce = policies();
  const selection = selectionOf(inForce, requesterOf(request), now?.() ?? new Date());
  const rules = rulesInForce(parts.rules, inForce);
  const asked = { rules, change, mesh, selection, user: request.user.name };
  return goOn(reviews.judge(asked), (evaluation: Evaluation) => {
    for (const { rule, subject, error } of evaluation.errors)
      log?.error({ uid: request.uid, rule: rule.id, subject: idOf(subject), ...described(error) }, "rule failed");
    return judgementOf({ request, change, evaluation, selection, policies: inForce });
  });
}

/** Evaluates the change again with the objects that the API server has now. They are never written to the store, where an older watch event would overwrite them. */
async function confirmed(first: Judgement, evidence: readonly Evidence[], look: Look): Promise<Decision> {
  const { parts } = look;
  const live = await parts.readAgain?.(evidence).catch((error: unknown) => {
    parts.log?.error(
      { uid: first.request.uid, ...described(error) },
      "the evidence of a denial could not be read again",
    );
    return undefined;
  });
  if (live === undefined) {
    const unconfirmed: Judgement = { ...first, isUnconfirmed: true };
    return { ...decide(unconfirmed, rulingsFor(unconfirmed), parts.pageOf), liveRead: "late" };
  }
  const second = await judged(look, () => overlay(parts.mesh(), live));
  const decision = decide(second, rulingsFor(second), parts.pageOf);
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
