// AdmissionReview v1 as the API server accepts it (k8s.io/apiserver pkg/admission/plugin/webhook/request/admissionreview.go,
// VerifyAdmissionResponse; pkg/admission/plugin/webhook/errors/statuserror.go, ToStatusErr; pkg/endpoints/filters/warning.go).

import { printableLine, printableText } from "../text/printable.ts";
import type { Decision, PatchOperation } from "./review.ts";

export type WebhookPath = "/validate" | "/mutate";

export interface Answer {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: Response;
}

interface Response {
  uid: string;
  allowed: boolean;
  status?: { code: number; reason: string; message: string };
  patchType?: "JSONPatch";
  /** base64 of a JSON list of operations */
  patch?: string;
  warnings?: readonly string[];
  auditAnnotations?: Readonly<Record<string, string>>;
}

const longestMessageBytes = 4_096;
// If the warnings of all webhooks exceed 4,096 runes, the API server truncates each to 256 runes and drops some. Ten
// warnings of 256 runes leave room for other webhooks; fewer warnings may be longer.
const mostWarnings = 10;
const mostRunes = 2_560;
const shortWarning = 256;
const longestWarning = 600;
const annotationKey = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/**
 * The response to the request `uid`. A denial has status 403 Forbidden. With 404, 409, 410, 429 or 5xx, clients would
 * retry or misinterpret it; with 422 Invalid, kubectl would drop the message.
 */
export function answer(uid: string, decision: Decision, path: WebhookPath): Answer {
  const response: Response = { uid, allowed: decision.allowed };
  if (!decision.allowed) response.status = { code: 403, reason: "Forbidden", message: messageOf(decision) };
  else if (path === "/mutate" && decision.patch !== undefined) addPatch(response, decision.patch);
  if (decision.warnings.length > 0) addWarnings(response, decision);
  addAuditAnnotations(response, decision.auditAnnotations);
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response };
}

/** The decision for a request that could not be evaluated and is therefore denied. */
export function notJudged(problem: string): Decision {
  return {
    allowed: false,
    message: `Meshward could not evaluate this request and denies it: ${problem}`,
    warnings: [],
    auditAnnotations: { decision: "error" },
    rules: [],
    outcome: "error",
  };
}

/**
 * The decision for a mutation that failed: the object is not changed, and the user is warned. A namespace can be labelled
 * later, but a namespace that cannot be created blocks its user.
 */
export function notMutated(problem: string): Decision {
  return {
    allowed: true,
    warnings: [
      `Meshward did not change the object: ${problem}. If it is a new namespace, it did not join the mesh; label it istio.io/dataplane-mode=ambient to enroll it`,
    ],
    auditAnnotations: { decision: "error" },
    rules: [],
    outcome: "error",
  };
}

function messageOf(decision: Decision): string {
  return printableText(decision.message || "Meshward denied the request without a message", longestMessageBytes);
}

/** An empty patch is not sent, because a patch that cannot be applied fails the request regardless of the failure policy. */
function addPatch(response: Response, patch: readonly PatchOperation[]): void {
  if (patch.length === 0) return;
  response.patchType = "JSONPatch";
  response.patch = Buffer.from(JSON.stringify(patch)).toString("base64");
}

function addWarnings(response: Response, { warnings, moreWarnings = 0 }: Decision): void {
  const lines = new Set<string>();
  for (const warning of warnings) {
    const line = printableLine(warning, longestWarning)
      .replace(/^\s*warning:\s*/i, "")
      .trim();
    if (line !== "") lines.add(line);
  }
  const all = [...lines];
  const shown = all.length <= mostWarnings ? all : all.slice(0, mostWarnings - 1);
  const left = all.length - shown.length + moreWarnings;
  if (left > 0) shown.push(`${left} more warnings`);
  const isLong = shown.reduce((sum, { length }) => sum + length, 0) > mostRunes;
  if (shown.length > 0) response.warnings = isLong ? shown.map((line) => printableLine(line, shortWarning)) : shown;
}

function addAuditAnnotations(response: Response, annotations: Readonly<Record<string, string>>): void {
  const valid: Record<string, string> = {};
  let count = 0;
  for (const key in annotations) {
    const value = annotations[key];
    if (value === undefined || !annotationKey.test(key)) continue;
    valid[key] = printableLine(value, 1_024);
    count++;
  }
  if (count > 0) response.auditAnnotations = valid;
}
