import type { FastifyReply, FastifyRequest } from "fastify";
import { answer, notJudged, notMutated, type WebhookPath } from "../admission/answer.ts";
import { breakGlassUsed } from "../admission/object-events.ts";
import { type AdmissionRequest, type Decision, type Gate, readReview } from "../admission/review.ts";
import { isSelfTest, selfTestDenied } from "../admission/self-test.ts";
import { kindOf } from "../kube/kinds.ts";
import type { ObjectEvent } from "../kube/object-event.ts";
import type { Log } from "../telemetry/log.ts";
import type { AdmissionSample, Metrics, RefusalReason } from "../telemetry/metrics.ts";
import { type Attributes, begin, beginRequest } from "../telemetry/tracing.ts";
import { errorFields } from "../text/error-fields.ts";
import type { RepeatedLines } from "./repeated-lines.ts";
import { TooLarge } from "./review-body.ts";

interface HandlerParts {
  readonly gate: Gate;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Called after the response is sent. Must neither throw nor block. */
  readonly tell?: ((events: readonly ObjectEvent[]) => void) | undefined;
  readonly storedBytes?: number | undefined;
  /** Receives the log lines of requests without a uid, which any client can send. */
  readonly rejected: RepeatedLines;
}

/** Answers one review; the two paths differ only in the method of the gate that they call. */
export function reviewHandler(parts: HandlerParts, path: WebhookPath) {
  const { gate, storedBytes } = parts;
  const ask = (request: AdmissionRequest) => (path === "/validate" ? gate.validate(request) : gate.mutate(request));

  return (request: FastifyRequest, reply: FastifyReply): FastifyReply | Promise<FastifyReply> => {
    const start = performance.now();
    const body = request.body as Buffer | TooLarge | null | undefined;
    if (body instanceof TooLarge) return refuse(parts, { start, path, ...unread(body) }, reply);
    const reading = readReview(body ?? "", storedBytes);
    request.body = undefined; // Its bytes are not needed while a long review waits.
    if ("problem" in reading) {
      const status = reading.uid === "" ? 400 : 200;
      return refuse(parts, { start, path, status, reason: "unreadable", ...reading }, reply);
    }
    if (isSelfTest(reading.request)) {
      // Neither logged nor counted, because every replica asks every minute.
      send(reply, 200, answer(reading.request.uid, selfTestDenied, path));
      return reply;
    }
    const span = beginRequest(`review ${path}`, request.headers);
    const finish = (decision: Decision) => {
      const answering = span.run(() => begin("answer"));
      send(reply, 200, answer(reading.request.uid, decision, path));
      answering.end();
      record(parts, path, reading.request, decision, performance.now() - start);
      if (span.isRecorded) span.end(attributesOf(reading.request, decision));
      return reply;
    };
    try {
      const decision = span.run(() => ask(reading.request));
      if (!(decision instanceof Promise)) return finish(decision);
      return inTime(decision, deadlineMs(request.query))
        .catch((error: unknown) => gateFailed(parts.log, path, reading.request.uid, error))
        .then(finish);
    } catch (error) {
      return finish(gateFailed(parts.log, path, reading.request.uid, error));
    }
  };
}

/** The fields of the log, without the requester and the texts of findings. */
function attributesOf(
  { uid, operation, kind, namespace, name, dryRun }: AdmissionRequest,
  decision: Decision,
): Attributes {
  return {
    "meshward.uid": clip(uid),
    "meshward.operation": operation,
    "meshward.kind": clip(kind.kind),
    "meshward.namespace": clip(namespace),
    "meshward.name": clip(name),
    "meshward.dry_run": dryRun,
    "meshward.decision": decision.outcome,
    "meshward.rules": decision.rules.join(","),
  };
}

/** Denies a review over the size limit by its uid, because an HTTP error would admit it if failurePolicy is Ignore. */
function unread({ uid, limitBytes }: TooLarge): Pick<Refusal, "status" | "uid" | "problem" | "reason"> {
  const megabytes = Math.floor(limitBytes / 1_048_576);
  const size = megabytes > 0 ? `${megabytes} MiB` : `${limitBytes} bytes`;
  const problem = `the review is larger than ${size}, which is more than Meshward reads; make the object smaller`;
  return { status: uid === "" ? 413 : 200, uid, problem, reason: "review_size" };
}

interface Refusal {
  /** When the body was received, by performance.now(). */
  readonly start: number;
  readonly path: WebhookPath;
  readonly status: number;
  readonly uid: string;
  readonly problem: string;
  readonly reason: RefusalReason;
}

function refuse({ log, metrics, rejected }: HandlerParts, refusal: Refusal, reply: FastifyReply): FastifyReply {
  const { start, path, status, uid, problem, reason } = refusal;
  send(reply, status, answer(uid, notJudged(problem), path));
  const fields = { uid: clip(uid), path, decision: "error", problem };
  if (uid === "") rejected.warn(path, fields, "admission");
  else log.warn(fields, "admission");
  metrics.refused(reason);
  metrics.admission({ ...unknown, webhook: path.slice(1), seconds: (performance.now() - start) / 1_000 });
  return reply;
}

const unknown = {
  operation: "unknown",
  kind: "other",
  decision: "error",
  dryRun: false,
  rules: [],
  ruleErrors: [],
  skipped: [],
  addedLabels: [],
  wouldDeny: [],
  hasBrokenGlass: false,
  liveRead: undefined,
  concurrent: undefined,
} as const;

/** Serialises the review itself, because fastify has no schema to do it faster, and a string skips type detection. */
function send(reply: FastifyReply, status: number, review: object): void {
  void reply.code(status).header("content-type", "application/json; charset=utf-8").send(JSON.stringify(review));
}

function gateFailed(log: Log, path: WebhookPath, uid: string, error: unknown): Decision {
  const undecided = path === "/mutate" ? notMutated : notJudged;
  if (error instanceof DeadlineExceeded) {
    log.error({ uid: clip(uid), path, error: error.message }, "admission failed");
    return undecided(`${error.message}; try again`);
  }
  log.error({ uid: clip(uid), path, ...errorFields(error) }, "admission failed");
  return undecided(`an internal error occurred; see Meshward's log for uid ${uid}`);
}

class DeadlineExceeded extends Error {}

/**
 * Half a second before the API server gives up (`?timeout=5s`, 10 s by default), after which its failure policy
 * decides.
 */
function deadlineMs(query: unknown): number {
  const timeout = typeof query === "object" && query !== null && "timeout" in query ? query.timeout : undefined;
  const seconds = typeof timeout === "string" ? Number(/^(\d{1,2})s$/.exec(timeout)?.[1] ?? 10) : 10;
  const milliseconds = Math.max(seconds, 1) * 1_000;
  return Math.max(milliseconds - 500, milliseconds / 2);
}

async function inTime(decision: Promise<Decision>, milliseconds: number): Promise<Decision> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new DeadlineExceeded(`no decision within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([decision, late]);
  } finally {
    clearTimeout(timer);
  }
}

// oxlint-disable-next-line max-params -- one call, and an object for it would be made for every review
function record(
  parts: HandlerParts,
  path: WebhookPath,
  request: AdmissionRequest,
  decision: Decision,
  milliseconds: number,
): void {
  const { kind, operation, dryRun } = request;
  parts.log.admission({
    uid: clip(request.uid),
    path,
    operation,
    group: clip(kind.group),
    version: clip(kind.version),
    kind: clip(kind.kind),
    namespace: clip(request.namespace),
    name: clip(request.name),
    user: clip(request.user.name),
    userGroups: request.user.groups.slice(0, mostGroups).map(clip),
    dryRun,
    decision: decision.outcome,
    rules: decision.rules,
    addedLabels: decision.addedLabels,
    liveRead: decision.liveRead,
    concurrent: decision.concurrent,
    milliseconds: Math.round(milliseconds * 1_000) / 1_000,
  });
  parts.metrics.admission({ ...sampleOf(request, decision), webhook: path.slice(1), seconds: milliseconds / 1_000 });
  if (decision.events !== undefined) parts.tell?.(decision.events);
}

function sampleOf(
  { kind, operation, dryRun }: AdmissionRequest,
  decision: Decision,
): Omit<AdmissionSample, "webhook" | "seconds"> {
  const { ruleErrors = [], skipped = [], addedLabels = [], wouldDeny = [], events = [], ...decided } = decision;
  const apiVersion = kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
  return {
    operation,
    kind: kindOf(apiVersion, kind.kind) === undefined ? "other" : kind.kind,
    decision: decided.outcome,
    dryRun,
    rules: decided.rules,
    ruleErrors,
    skipped,
    addedLabels,
    wouldDeny,
    hasBrokenGlass: events.some(({ reason }) => reason === breakGlassUsed),
    liveRead: decided.liveRead,
    concurrent: decided.concurrent,
  };
}

/** Of the groups of a requester, the log has this many. */
const mostGroups = 20;

/** The API server limits the length of these fields, but any client that reaches the port can send anything. */
function clip(text: string): string {
  return text.length <= 256 ? text : `${text.slice(0, 256)}…`;
}
