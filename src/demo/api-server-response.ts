// Processes a webhook's answer as the API server does, for a client outside a cluster.

import type { PatchOperation } from "../admission/review.ts";

/** An answer that passed the API server's checks. */
export interface VerifiedResponse {
  readonly allowed: boolean;
  readonly status: Status | undefined;
  readonly patch: readonly PatchOperation[];
  readonly warnings: readonly string[];
  readonly auditAnnotations: Readonly<Record<string, string>>;
}

export interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: unknown;
}

/** The error that a client of the API server receives for a denied request. */
export interface StatusError {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

/** An answer that the API server would reject, so that the webhook's failure policy applies. */
export class BadAnswer extends Error {
  override readonly name = "BadAnswer";
}

const reviewV1 = "admission.k8s.io/v1, Kind=AdmissionReview";

type Fields = Readonly<Record<string, unknown>>;

/**
 * k8s.io/apiserver pkg/admission/plugin/webhook/request/admissionreview.go, VerifyAdmissionResponse.
 * @throws BadAnswer
 */
export function verifyResponse(uid: string, mutating: boolean, review: unknown): VerifiedResponse {
  if (!isFields(review)) throw new BadAnswer("the answer is not a JSON object");
  const response = review.response;
  if (!isFields(response)) throw new BadAnswer("webhook response was absent");
  if (response.uid !== uid) throw new BadAnswer(`expected response.uid="${uid}", got "${String(response.uid)}"`);
  const found = `${String(review.apiVersion)}, Kind=${String(review.kind)}`;
  if (found !== reviewV1) throw new BadAnswer(`expected webhook response of ${reviewV1}, got ${found}`);
  if (typeof response.allowed !== "boolean") throw new BadAnswer("response.allowed is not a boolean");
  return {
    allowed: response.allowed,
    status: isFields(response.status) ? response.status : undefined,
    patch: mutating ? patchOf(response) : noPatch(response),
    warnings: textsOf(response.warnings),
    auditAnnotations: annotationsOf(response.auditAnnotations),
  };
}

function noPatch({ patch, patchType }: Fields): [] {
  if (given(patch)) throw new BadAnswer("validating webhook may not return response.patch");
  if (patchType !== undefined && patchType !== null) {
    throw new BadAnswer("validating webhook may not return response.patchType");
  }
  return [];
}

function patchOf({ patch, patchType }: Fields): readonly PatchOperation[] {
  const typed = patchType !== undefined && patchType !== null;
  if (given(patch) && !typed) throw new BadAnswer("webhook returned response.patch but not response.patchType");
  if (!given(patch) && typed) throw new BadAnswer("webhook returned response.patchType but not response.patch");
  if (!given(patch)) return [];
  if (patchType !== "JSONPatch") throw new BadAnswer(`unsupported patch type "${String(patchType)}"`);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(patch)) throw new BadAnswer("response.patch is not base64");
  return decodedPatch(Buffer.from(patch, "base64").toString("utf8"));
}

function decodedPatch(json: string): readonly PatchOperation[] {
  let operations: unknown;
  try {
    operations = JSON.parse(json);
  } catch {
    throw new BadAnswer("response.patch is not JSON");
  }
  if (Array.isArray(operations) && operations.every((operation) => isFields(operation))) {
    return operations as unknown as PatchOperation[];
  }
  throw new BadAnswer("response.patch is not a list of operations");
}

function given(patch: unknown): patch is string {
  return typeof patch === "string" && patch !== "";
}

function textsOf(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw new BadAnswer("response.warnings is not a list of strings");
}

/** The API server drops keys that are not valid in a qualified name, and logs it. */
function annotationsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isFields(value)) return {};
  const valid = Object.entries(value).filter(([key]) => /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(key));
  return Object.fromEntries(valid.map(([key, text]) => [key, String(text)]));
}

/** k8s.io/apiserver pkg/admission/plugin/webhook/errors/statuserror.go, ToStatusErr. */
export function statusError(webhook: string, status: Status | undefined): StatusError {
  const deniedBy = `admission webhook "${webhook}" denied the request`;
  const explanation = status?.message || status?.reason;
  return {
    code: status?.code !== undefined && status.code >= 400 ? status.code : 400,
    reason: status?.reason ?? "",
    message: explanation ? `${deniedBy}: ${explanation}` : `${deniedBy} without explanation`,
  };
}

export function internalError(message: string): StatusError {
  return { code: 500, reason: "InternalError", message: `Internal error occurred: ${message}` };
}

const allRunes = 4_096;
const itemRunes = 256;

/** The warnings that reach the client: k8s.io/apiserver pkg/endpoints/filters/warning.go, recorder.AddWarning. */
export class WarningRecorder {
  readonly #recorded = new Set<string>();
  #shown: string[] = [];
  #runes = 0;
  #truncating = false;

  add(text: string): void {
    if (text === "" || (this.#runes >= allRunes && this.#truncating) || this.#recorded.has(text)) return;
    this.#recorded.add(text);
    const shown = this.#truncating ? truncated(text) : text;
    if (this.#truncating || this.#runes + [...shown].length <= allRunes) {
      this.#show(shown);
      return;
    }
    this.#truncating = true;
    this.#runes = 0;
    this.#shown = [];
    for (const recorded of this.#recorded) this.#show(truncated(recorded));
  }

  get shown(): readonly string[] {
    return this.#shown;
  }

  /** A header cannot contain control characters, so such a warning is dropped silently. */
  #show(text: string): void {
    if (/\p{Cc}|\p{Cs}/u.test(text)) return;
    this.#runes += [...text].length;
    this.#shown.push(text);
  }
}

function truncated(text: string): string {
  return [...text].slice(0, itemRunes).join("");
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
