import { notJudged, notMutated } from "./answer.ts";
import { errorFields } from "../text/error-fields.ts";
import { type DocumentReview, isPolicyDocument, reviewDocument } from "./policy-documents.ts";
import { enroll } from "./enrollment.ts";
import type { AdmissionRequest, Decision, Gate } from "./review.ts";
import type { DefineRules } from "../policy/load.ts";
import { TooManyWaiting } from "./turns.ts";
import { Validation, type ValidationParts } from "./validation.ts";

export interface GateParts extends ValidationParts {
  /** What defines the rules of a policy that is reviewed. */
  readonly definitionFor?:
    | ((sources: readonly { readonly raw: unknown }[]) => Promise<DefineRules | undefined>)
    | undefined;
  /** Namespaces that the mutation never changes, in addition to the root namespace: Meshward's own. */
  readonly neverEnrolled?: readonly string[];
  /** The URL of the page about policies, for messages. */
  readonly policiesPage?: string | undefined;
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
  parts: GateParts & {
    readonly readAgain?: undefined;
    readonly pacing?: undefined;
    readonly definitionFor?: undefined;
  },
): SynchronousGate;
export function createGate(parts: GateParts): Gate;
export function createGate(parts: GateParts): Gate {
  const validation = new Validation(parts);
  const validate = (request: AdmissionRequest) =>
    isPolicyDocument(request) ? documentDecision(request, parts) : validation.validate(request);
  return {
    validate: (request) => withoutThrowing(() => validate(request), request, parts, notJudged),
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
    log?.error({ uid, ...errorFields(error) }, "admission failed");
    return otherwise(`an internal error occurred; see Meshward's log for uid ${uid}`);
  };
  try {
    const decision = answer();
    return decision instanceof Promise ? decision.catch(failed) : decision;
  } catch (error) {
    return failed(error);
  }
}

function documentDecision(request: AdmissionRequest, parts: GateParts): Decision | Promise<Decision> {
  const { definitionFor } = parts;
  if (definitionFor === undefined) return reviewDocument(request, documentReview(parts, undefined));
  const defined = definitionFor([{ raw: request.object }]);
  return defined.then((define) => reviewDocument(request, documentReview(parts, define)));
}

const documentReview = (
  { policies, rules, mesh, now, policiesPage: page }: GateParts,
  define: DefineRules | undefined,
): DocumentReview => ({
  ...{ policies: policies(), rules, mesh: mesh(), page, define },
  now: now?.() ?? new Date(),
});

const mutate = (request: AdmissionRequest, { mesh, policies, neverEnrolled = [] }: GateParts): Decision =>
  enroll(request, policies(), [mesh().settings.rootNamespace, ...neverEnrolled]);
