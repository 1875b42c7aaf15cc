// Simulates the API server for the demo and the contract tests. It builds requests, calls webhooks and checks their
// answers as k8s.io/apiserver does (pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go,
// pkg/util/webhook/client.go).

import { randomBytes, randomUUID } from "node:crypto";
import { Agent, request as httpsRequest } from "node:https";
import { setTimeout as elapsed } from "node:timers/promises";
import type { PatchOperation } from "../admission/review.ts";
import {
  BadAnswer,
  internalError,
  type StatusError,
  statusError,
  type VerifiedResponse,
  verifyResponse,
  WarningRecorder,
} from "./api-server-response.ts";
import { applyPatch, PatchError } from "./json-patch.ts";

export type KubernetesObject = Readonly<Record<string, unknown>>;

/** A request of a user to the API server. `object` is set on CREATE and UPDATE, `oldObject` on UPDATE and DELETE. */
export interface Submission {
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly object?: KubernetesObject;
  readonly oldObject?: KubernetesObject;
  readonly user?: { readonly username: string; readonly groups: readonly string[] };
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  readonly subResource?: string;
  /** whether it is part of a collection's deletion; the request then carries no name */
  readonly collection?: boolean;
}

/** The part of a webhook configuration that the client needs. */
export interface Webhook {
  readonly name: string;
  readonly path: "/validate" | "/mutate";
  readonly failurePolicy: "Fail" | "Ignore";
  readonly timeoutSeconds: number;
  /** replaces the rules of the configuration; default: every submission */
  readonly matches?: (submission: Submission) => boolean;
}

export interface Admission {
  readonly allowed: boolean;
  /** the object as it would be stored; the old object on DELETE */
  readonly object: KubernetesObject;
  /** the changes of the mutating webhooks */
  readonly patch: readonly PatchOperation[];
  /** the warnings that reach the user */
  readonly warnings: readonly string[];
  readonly auditAnnotations: Readonly<Record<string, string>>;
  /** why the request was denied */
  readonly error?: StatusError;
  /** webhooks that failed and whose failure policy admitted the request */
  readonly failedOpen: readonly string[];
}

export interface ApiServerClientOptions {
  /** `https://127.0.0.1:8443` */
  readonly url: string;
  /** PEM, the webhook configuration's caBundle */
  readonly ca: string;
  readonly webhooks?: readonly Webhook[] | undefined;
  /** the name that the certificate must contain, if it differs from the URL's host: `meshward.meshward-system.svc` */
  readonly serverName?: string;
  readonly now?: (() => Date) | undefined;
}

export interface ApiServerClient {
  /** Sends one request through all webhooks, mutating ones first. Rejects only for a programming error. */
  admit(submission: Submission): Promise<Admission>;
  close(): void;
}

/** The mutating webhook receives Namespaces, the validating webhook every kind. */
const meshwardWebhooks: readonly Webhook[] = [
  {
    name: "mutate.meshward.io",
    path: "/mutate",
    failurePolicy: "Ignore",
    timeoutSeconds: 3,
    matches: ({ object }) => object?.kind === "Namespace",
  },
  { name: "validate.meshward.io", path: "/validate", failurePolicy: "Fail", timeoutSeconds: 5 },
];

export function createApiServerClient(options: ApiServerClientOptions): ApiServerClient {
  const { webhooks, now } = options;
  // Like client-go's transport: 25 idle connections for each host, closed after 90 s.
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 25, timeout: 90_000, ca: options.ca });
  const call = (webhook: Webhook, body: string) => send({ options, agent, webhook, body });
  return {
    admit: (submission) => admitThrough(submission, call, { webhooks, now }),
    close: () => agent.destroy(),
  };
}

/** Calls a webhook with a body, and returns its answer. */
export type WebhookCall = (webhook: Webhook, body: string) => Promise<{ status: number; text: string }>;

/** Sends one request through all webhooks, mutating ones first. Rejects only for a programming error. */
export async function admitThrough(
  submission: Submission,
  call: WebhookCall,
  { webhooks = meshwardWebhooks, now = () => new Date() }: Pick<ApiServerClientOptions, "webhooks" | "now">,
): Promise<Admission> {
  const course = new Course(submission);
  for (const path of ["/mutate", "/validate"] as const) {
    if (path === "/validate") course.object = completed(course.object, submission, now());
    const current = submission.operation === "DELETE" ? submission : { ...submission, object: course.object };
    for (const webhook of webhooks.filter((each) => each.path === path && (each.matches?.(current) ?? true))) {
      await consult(webhook, course, (body) => call(webhook, body));
      if (course.error !== undefined) return course.result();
    }
  }
  return course.result();
}

/** The state of one request while the webhooks are called. */
class Course {
  object: KubernetesObject;
  error: StatusError | undefined;
  readonly submission: Submission;
  readonly patch: PatchOperation[] = [];
  readonly failedOpen: string[] = [];
  readonly #warnings = new WarningRecorder();
  readonly #annotations: Record<string, string> = {};

  constructor(submission: Submission) {
    this.submission = submission;
    this.object = defaulted(submission.object ?? submission.oldObject ?? {});
  }

  note(webhook: string, { warnings, auditAnnotations }: VerifiedResponse): void {
    for (const warning of warnings) this.#warnings.add(warning);
    for (const [key, value] of Object.entries(auditAnnotations)) this.#annotations[`${webhook}/${key}`] = value;
  }

  result(): Admission {
    return {
      allowed: this.error === undefined,
      object: this.object,
      patch: this.patch,
      warnings: this.#warnings.shown,
      auditAnnotations: this.#annotations,
      failedOpen: this.failedOpen,
      ...(this.error === undefined ? {} : { error: this.error }),
    };
  }
}

type Call = (body: string) => Promise<{ status: number; text: string }>;

async function consult(webhook: Webhook, course: Course, call: Call): Promise<void> {
  const uid = randomUUID();
  const mutating = webhook.path === "/mutate";
  let response: VerifiedResponse;
  try {
    const { status, text } = await call(JSON.stringify(reviewOf(uid, course)));
    if (status < 200 || status > 206) throw new BadAnswer(httpProblem(status, text));
    response = verifyResponse(uid, mutating, parsed(text));
  } catch (error) {
    callFailed(webhook, course, error);
    return;
  }
  course.note(webhook.name, response);
  if (!response.allowed) course.error = statusError(webhook.name, response.status);
  else if (response.patch.length > 0) patchCourse(course, response.patch);
}

function callFailed(webhook: Webhook, course: Course, error: unknown): void {
  if (webhook.failurePolicy === "Ignore") {
    course.failedOpen.push(webhook.name);
    return;
  }
  const why = error instanceof Error ? error.message : String(error);
  course.error = internalError(`failed calling webhook "${webhook.name}": failed to call webhook: ${why}`);
}

/** A failure here is an internal error for every failure policy. */
function patchCourse(course: Course, patch: readonly PatchOperation[]): void {
  if (course.submission.operation === "DELETE") {
    course.error = internalError("cannot patch a request without an object");
    return;
  }
  try {
    course.object = applyPatch(course.object, patch);
    course.patch.push(...patch);
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    course.error = internalError(error.message);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BadAnswer("couldn't get version/kind; json parse error");
  }
}

function httpProblem(status: number, text: string): string {
  if (status === 404) return "the server could not find the requested resource";
  if (status === 429) return "the server has received too many requests and has asked us to try again later";
  if (status >= 500)
    return `an error on the server (${JSON.stringify(text.slice(0, 2_048))}) has prevented the request from succeeding`;
  return `the server rejected our request for an unknown reason (HTTP ${status})`;
}

const reviewOf = (uid: string, { submission, object }: Course): object => ({
  kind: "AdmissionReview",
  apiVersion: "admission.k8s.io/v1",
  request: requestOf(uid, submission, object),
});

/** The request of a review, which match conditions read too. */
export function requestOf(uid: string, submission: Submission, object: KubernetesObject): object {
  const { operation, subResource, oldObject, user = jane, dryRun = false, collection = false } = submission;
  const metadata = metadataOf(object);
  return {
    uid,
    ...kindAndResource(object),
    subResource,
    name: collection ? undefined : metadata.name,
    // The namespace of a request for a Namespace is the Namespace itself.
    namespace: object.kind === "Namespace" ? metadata.name : metadata.namespace,
    operation,
    userInfo: user,
    object: operation === "DELETE" ? null : object,
    oldObject: oldObject ?? null,
    dryRun,
    options: requestOptions(submission),
  };
}

const jane = { username: "jane", groups: ["developers", "system:authenticated"] };

function kindAndResource(object: KubernetesObject): object {
  const kind = groupVersionKind(object);
  const resource = { group: kind.group, version: kind.version, resource: resourceOf(kind.kind) };
  return { kind, resource, requestKind: kind, requestResource: resource };
}

function requestOptions({ operation, dryRun, fieldManager = "kubectl-client-side-apply" }: Submission): object {
  const kind = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" }[operation];
  return {
    kind,
    apiVersion: "meta.k8s.io/v1",
    fieldManager: operation === "DELETE" ? undefined : fieldManager,
    dryRun: dryRun === true ? ["All"] : undefined,
  };
}

interface Exchange {
  readonly options: ApiServerClientOptions;
  readonly agent: Agent;
  readonly webhook: Webhook;
  readonly body: string;
}

interface Reply {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | undefined;
}

/** client-go retries only after 429 and 5xx with Retry-After, up to ten times within the timeout. */
async function send(exchange: Exchange): Promise<Reply> {
  const signal = AbortSignal.timeout(exchange.webhook.timeoutSeconds * 1_000);
  let reply = await post(exchange, signal);
  for (let retry = 0; retry < 10 && mayRetry(reply); retry++) {
    await elapsed(Number(reply.retryAfter) * 1_000, undefined, { signal });
    reply = await post(exchange, signal);
  }
  return reply;
}

function mayRetry({ status, retryAfter }: Reply): boolean {
  return (status === 429 || status >= 500) && retryAfter !== undefined && /^\d+$/.test(retryAfter);
}

function post({ options, agent, webhook, body }: Exchange, signal: AbortSignal): Promise<Reply> {
  const url = new URL(`${webhook.path}?timeout=${webhook.timeoutSeconds}s`, options.url);
  const headers = {
    "content-type": "application/json",
    accept: "application/json, */*",
    "user-agent": "kube-apiserver-admission",
    "content-length": Buffer.byteLength(body),
  };
  const servername = options.serverName === undefined ? {} : { servername: options.serverName };
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(url, { method: "POST", agent, headers, signal, ...servername }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status: incoming.statusCode ?? 0, text, retryAfter: incoming.headers["retry-after"] });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

interface Metadata {
  readonly name?: string;
  readonly namespace?: string;
  readonly generateName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string;
  readonly uid?: string;
}

export function metadataOf(object: KubernetesObject): Metadata {
  const { metadata } = object;
  return typeof metadata === "object" && metadata !== null ? metadata : {};
}

/** Sets the label with the name of a Namespace, as the API server's decoding does. */
function defaulted(object: KubernetesObject): KubernetesObject {
  const metadata = metadataOf(object);
  if (object.kind !== "Namespace" || object.apiVersion !== "v1" || metadata.name === undefined) return object;
  const labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
  return { ...object, metadata: { ...metadata, labels } };
}

/** Sets the fields that the API server sets between mutation and validation of a new object. */
function completed(object: KubernetesObject, { operation }: Submission, now: Date): KubernetesObject {
  if (operation !== "CREATE") return object;
  const metadata = metadataOf(object);
  const generated = `${metadata.generateName ?? ""}${randomBytes(3).toString("hex").slice(0, 5)}`;
  return {
    ...object,
    metadata: {
      ...metadata,
      name: metadata.name ?? generated,
      uid: metadata.uid ?? randomUUID(),
      creationTimestamp: metadata.creationTimestamp ?? `${now.toISOString().slice(0, 19)}Z`,
    },
  };
}

export function groupVersionKind(object: KubernetesObject): { group: string; version: string; kind: string } {
  const apiVersion = String(object.apiVersion);
  const slash = apiVersion.indexOf("/");
  return {
    group: apiVersion.slice(0, Math.max(slash, 0)),
    version: apiVersion.slice(slash + 1),
    kind: String(object.kind),
  };
}

/** The plural resource name, as Kubernetes, Istio and the Gateway API form it from the kind. */
export function resourceOf(kind: string): string {
  const name = kind.toLowerCase();
  if (/[^aeiou]y$/.test(name)) return `${name.slice(0, -1)}ies`;
  return /(s|x|ch)$/.test(name) ? `${name}es` : `${name}s`;
}
