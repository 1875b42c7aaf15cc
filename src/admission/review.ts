// AdmissionReview v1 as the API server sends it (k8s.io/api admission/v1 types.go, AdmissionRequest).

import type { ObjectEvent } from "../kube/object-event.ts";
import { printableLine } from "../text/printable.ts";

export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

export type Operation = "CREATE" | "UPDATE" | "DELETE";

/** A request that can be judged: its parts have the right types and its objects are of the kind that it names. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: GroupVersionKind;
  /** "", "status" or "finalize": the ones whose object is the whole object, so that labels can change through them */
  readonly subResource: string;
  /** "" only on CREATE with generateName; on a collection's deletion it is the old object's name */
  readonly name: string;
  readonly namespace: string;
  readonly operation: Operation;
  readonly user: { readonly name: string; readonly groups: readonly string[] };
  /** there on CREATE and UPDATE */
  readonly object: Readonly<Record<string, unknown>> | undefined;
  /** there on UPDATE and DELETE */
  readonly oldObject: Readonly<Record<string, unknown>> | undefined;
  readonly fieldManager: string;
  readonly dryRun: boolean;
}

/** `uid` is "" where none could be read: then the API server has to be told by the HTTP status. */
export type Reading = { readonly request: AdmissionRequest } | { readonly uid: string; readonly problem: string };

/** RFC 6902; the operations that Meshward sends. */
export type PatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

export interface Decision {
  readonly allowed: boolean;
  /** what a denied user reads; it must stand alone, because some clients print nothing else */
  readonly message?: string;
  /** most severe first */
  readonly warnings: readonly string[];
  readonly patch?: readonly PatchOperation[];
  readonly auditAnnotations: Readonly<Record<string, string>>;
  /** ids of the rules that had findings, for the log and the metrics */
  readonly rules: readonly string[];
  /** the rules that could not judge the change, because they failed or the review used up its CPU time; for log and metrics */
  readonly ruleErrors?: readonly { readonly rule: string; readonly reason: "error" | "budget" }[];
  /** what is to be told about objects once this is the answer */
  readonly events?: readonly ObjectEvent[];
  /** what came of it where a denial's witnesses were read again: the denial stands, has no ground any more, or nobody knows */
  readonly liveRead?: LiveReadResult;
  readonly outcome: "allow" | "warn" | "deny" | "error";
}

export type LiveReadResult = "confirmed" | "changed" | "late";

/** What the webhook's two paths ask; how a decision comes about is not the webhook's business. */
export interface Gate {
  validate(request: AdmissionRequest): Promise<Decision> | Decision;
  mutate(request: AdmissionRequest): Promise<Decision> | Decision;
}

/**
 * Deeper objects are refused: no mesh object comes near, recursion over them would run out of stack, and the API server
 * itself stops at 10,000 (apimachinery).
 */
const deepestNesting = 2_500;
/**
 * More objects and lists are refused: what a review costs goes by their number, and etcd's 1.5 MiB hold two hundred
 * thousand at most that say anything.
 */
const mostContainers = 250_000;

const utf8 = new TextDecoder("utf-8", { fatal: true });
const judgedSubResources = new Set(["", "status", "finalize"]);

type Fields = Readonly<Record<string, unknown>>;

class Unreadable extends Error {}

/** Reads an AdmissionReview. Never throws: whatever cannot be judged comes back as a problem in words. */
export function readReview(body: Uint8Array | string): Reading {
  let uid = "";
  try {
    const review = parse(body);
    uid = uidOf(review);
    return { request: readRequest(review, body.length, uid) };
  } catch (error) {
    return { uid, problem: problemOf(error) };
  }
}

function problemOf(error: unknown): string {
  if (error instanceof Unreadable) return error.message;
  if (error instanceof RangeError) return "it is nested too deeply to be read";
  return `it could not be read (${error instanceof Error ? error.message : String(error)})`;
}

function parse(body: Uint8Array | string): Fields {
  if (body.length === 0) throw new Unreadable("the body is empty; expected an AdmissionReview in JSON");
  let review: unknown;
  try {
    review = JSON.parse(typeof body === "string" ? body : utf8.decode(body));
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new Unreadable(`the body is not JSON (${printableLine(error.message, 120)})`);
    if (error instanceof TypeError) throw new Unreadable("the body is not UTF-8");
    throw error;
  }
  if (isFields(review)) return review;
  throw new Unreadable(`the body is ${named(review)}; expected an AdmissionReview object`);
}

function uidOf(review: Fields): string {
  const request = review.request;
  const uid = isFields(request) ? request.uid : undefined;
  return typeof uid === "string" ? uid : "";
}

function readRequest(review: Fields, size: number, uid: string): AdmissionRequest {
  requireReviewV1(review);
  const request = review.request;
  if (!isFields(request)) throw new Unreadable(`request is ${named(request)}; expected an object`);
  if (uid === "") throw new Unreadable(`request.uid is ${named(request.uid)}; expected a string that is not empty`);
  requireBounds(request, size);
  const kind = readKind(request.kind);
  const operation = readOperation(request.operation);
  const object = operation === "DELETE" ? undefined : readObject(request, "object", kind);
  const oldObject = operation === "CREATE" ? undefined : readObject(request, "oldObject", kind);
  return {
    uid,
    kind,
    subResource: readSubResource(request),
    name: text(request, "name", "request.") || nameOf(object ?? oldObject),
    namespace: text(request, "namespace", "request."),
    operation,
    user: readUser(request.userInfo),
    object,
    oldObject,
    fieldManager: readFieldManager(request.options),
    dryRun: readDryRun(request.dryRun),
  };
}

function requireReviewV1(review: Fields): void {
  const { apiVersion, kind } = review;
  if (kind !== "AdmissionReview") throw new Unreadable(`kind is ${named(kind)}; expected "AdmissionReview"`);
  if (apiVersion === "admission.k8s.io/v1") return;
  throw new Unreadable(
    `apiVersion is ${named(apiVersion)}; Meshward speaks "admission.k8s.io/v1" only: set admissionReviewVersions: ["v1"]`,
  );
}

function readKind(value: unknown): GroupVersionKind {
  if (!isFields(value)) throw new Unreadable(`request.kind is ${named(value)}; expected group, version and kind`);
  const at = "request.kind.";
  const kind = { group: text(value, "group", at), version: text(value, "version", at), kind: text(value, "kind", at) };
  if (kind.kind === "") throw new Unreadable("request.kind.kind is missing");
  if (kind.version === "") throw new Unreadable("request.kind.version is missing");
  return kind;
}

function readOperation(value: unknown): Operation {
  if (value === "CREATE" || value === "UPDATE" || value === "DELETE") return value;
  if (value === "CONNECT") {
    throw new Unreadable("Meshward does not judge CONNECT; take it out of the operations of the webhook's rules");
  }
  throw new Unreadable(`request.operation is ${named(value)}; expected CREATE, UPDATE or DELETE`);
}

function readSubResource(request: Fields): string {
  const subResource = text(request, "subResource", "request.");
  if (judgedSubResources.has(subResource)) return subResource;
  throw new Unreadable(
    `Meshward does not judge the subresource ${named(subResource)}; take it out of the resources of the webhook's rules`,
  );
}

/** Any version of the kind will do: the API server converts to the version that the webhook's rules name. */
function readObject(request: Fields, field: "object" | "oldObject", kind: GroupVersionKind): Fields {
  const object = request[field];
  if (!isFields(object)) {
    throw new Unreadable(`request.${field} is ${named(object)}; it must be there on ${String(request.operation)}`);
  }
  const apiVersion = object.apiVersion;
  if (typeof apiVersion === "string" && groupOf(apiVersion) === kind.group && object.kind === kind.kind) return object;
  const found = `${named(apiVersion)} ${named(object.kind)}`;
  throw new Unreadable(`request.${field} is of ${found}, but request.kind says ${named(`${kind.group} ${kind.kind}`)}`);
}

function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
}

function nameOf(object: Fields | undefined): string {
  const metadata = object?.metadata;
  const name = isFields(metadata) ? metadata.name : undefined;
  return typeof name === "string" ? name : "";
}

function readUser(value: unknown): AdmissionRequest["user"] {
  if (absent(value)) return { name: "", groups: [] };
  if (!isFields(value)) throw new Unreadable(`request.userInfo is ${named(value)}; expected an object`);
  const groups = value.groups;
  if (absent(groups)) return { name: text(value, "username", "request.userInfo."), groups: [] };
  if (!Array.isArray(groups) || !groups.every((group) => typeof group === "string")) {
    throw new Unreadable("request.userInfo.groups is not a list of strings");
  }
  return { name: text(value, "username", "request.userInfo."), groups };
}

function readFieldManager(options: unknown): string {
  if (absent(options)) return "";
  if (!isFields(options)) throw new Unreadable(`request.options is ${named(options)}; expected an object`);
  return text(options, "fieldManager", "request.options.");
}

function readDryRun(value: unknown): boolean {
  if (absent(value)) return false;
  if (typeof value !== "boolean") throw new Unreadable(`request.dryRun is ${named(value)}; expected true or false`);
  return value;
}

/** Absent means "". */
function text(fields: Fields, field: string, parent: string): string {
  const value = fields[field];
  if (absent(value)) return "";
  if (typeof value === "string") return value;
  throw new Unreadable(`${parent}${field} is ${named(value)}; expected a string`);
}

function absent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function named(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  return JSON.stringify(typeof value === "string" ? printableLine(value, 64) : value);
}

/** Not recursive. A level costs at least two bytes, so that a small body needs no look. */
function requireBounds(root: Fields, size: number): void {
  if (size < 2 * deepestNesting) return;
  let level: object[] = [root];
  let containers = 1;
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > deepestNesting) throw new Unreadable(`it is nested more than ${deepestNesting} levels deep`);
    const next: object[] = [];
    for (const value of level) {
      collectContainers(value, next);
      if (containers + next.length > mostContainers)
        throw new Unreadable(`it holds more than ${mostContainers} objects and lists`);
    }
    containers += next.length;
    level = next;
  }
}

function collectContainers(value: object, into: object[]): void {
  for (const member of Array.isArray(value) ? (value as unknown[]) : Object.values(value))
    if (typeof member === "object" && member !== null) into.push(member);
}
