// AdmissionReview v1 as the API server sends it (k8s.io/api admission/v1 types.go, AdmissionRequest).

import type { AuditAnnotations } from "./audit-annotations.ts";
import type { ObjectEvent } from "../kube/object-event.ts";
import { printableLine } from "../text/printable.ts";
import { defaultStoredBytes, excessiveSize } from "./stored-size.ts";
import { hasMoreValues, uidInHead } from "./unparsed-review.ts";

export interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

export type Operation = "CREATE" | "UPDATE" | "DELETE";

/** A valid request: its fields have the right types, and its objects have the kind that it names. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: GroupVersionKind;
  /** "", "status" or "finalize": these requests contain the whole object, so that labels can change through them */
  readonly subResource: string;
  /** "" only on CREATE with generateName; for a collection's deletion, the name of the old object */
  readonly name: string;
  readonly namespace: string;
  readonly operation: Operation;
  readonly user: { readonly name: string; readonly groups: readonly string[] };
  /** set on CREATE and UPDATE */
  readonly object: Readonly<Record<string, unknown>> | undefined;
  /** set on UPDATE and DELETE */
  readonly oldObject: Readonly<Record<string, unknown>> | undefined;
  readonly fieldManager: string;
  readonly dryRun: boolean;
}

/** `uid` is "" if none could be read; then the HTTP status has to report the error. */
export type Reading =
  | { readonly request: AdmissionRequest }
  | { readonly uid: string; readonly problem: string; readonly reason?: "object_size" };

/** The operations of RFC 6902 that Meshward sends. */
export type PatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

export interface Decision {
  readonly allowed: boolean;
  /** the message for a denied user; it must be complete, because some clients print nothing else */
  readonly message?: string;
  /** most severe first */
  readonly warnings: readonly string[];
  /** the number of further problems that would be warnings */
  readonly moreWarnings?: number;
  readonly patch?: readonly PatchOperation[];
  readonly auditAnnotations: AuditAnnotations;
  /** ids of the rules that had findings, for the log and the metrics */
  readonly rules: readonly string[];
  /** the rules that failed or were not evaluated because the budget was exceeded, for the log and the metrics */
  readonly ruleErrors?: readonly { readonly rule: string; readonly reason: "error" | "budget" }[];
  /** the rules that were skipped, with the kind that is not known, for the metrics */
  readonly skipped?: readonly { readonly rule: string; readonly kind: string }[];
  /** the keys of the labels that the patch adds, for the log and the metrics */
  readonly addedLabels?: readonly string[];
  /** the rules that would deny the change if their mode were deny, with their mode, for the metrics */
  readonly wouldDeny?: readonly { readonly rule: string; readonly mode: string }[];
  /** the Events to write after the response is sent */
  readonly events?: readonly ObjectEvent[];
  /** the result of reading the evidence of a denial again: the denial is confirmed, obsolete, or could not be confirmed in time */
  readonly liveRead?: LiveReadResult;
  /** set if changes that were admitted at the same moment made a difference */
  readonly concurrent?: ConcurrentResult;
  readonly outcome: "allow" | "warn" | "deny" | "error";
}

export type LiveReadResult = "confirmed" | "changed" | "late";
/** `undecided`: the other change was not stored in time, so what was stored decided. */
export type ConcurrentResult = "denied" | "admitted" | "undecided";

/** The decisions for the two paths of the webhook. */
export interface Gate {
  validate(request: AdmissionRequest): Promise<Decision> | Decision;
  mutate(request: AdmissionRequest): Promise<Decision> | Decision;
}

/**
 * Deeper objects are denied. No mesh object is nearly as deep, recursion could overflow the stack, and the API server
 * itself has a limit of 10,000 (apimachinery).
 */
const deepestNesting = 2_500;
/**
 * More objects and lists are denied, because the cost of a review depends on their number. An object of 1.5 MiB, the limit
 * of etcd, contains at most two hundred thousand with any content.
 */
const mostContainers = 250_000;
/**
 * Reviews with more values (numbers, strings, lists and objects) are denied before they are parsed. Two objects of the size
 * that etcd stores have fewer, unless they are made to have more.
 */
const mostValues = 1_000_000;

const utf8 = new TextDecoder("utf-8", { fatal: true });
const judgedSubResources = new Set(["", "status", "finalize", "ephemeralcontainers"]);

type Fields = Readonly<Record<string, unknown>>;

class Unreadable extends Error {}
class NotStorable extends Unreadable {}

/**
 * Reads an AdmissionReview. Never throws; returns a problem for an invalid review, and for an object of which the cluster
 * could not store as many bytes (`storedBytes`), whatever Meshward decided.
 */
export function readReview(body: Uint8Array | string, storedBytes = defaultStoredBytes): Reading {
  if (hasMoreValues(body, mostValues))
    return { uid: uidInHead(body), problem: `it contains more than ${mostValues} values` };
  let uid = "";
  try {
    const review = parse(body);
    uid = uidOf(review);
    const request = readRequest(review, body.length, uid);
    requireStorable(request, body.length, storedBytes);
    return { request };
  } catch (error) {
    const problem = problemOf(error);
    return error instanceof NotStorable ? { uid, problem, reason: "object_size" } : { uid, problem };
  }
}

function requireStorable({ object, kind }: AdmissionRequest, reviewBytes: number, limit: number): void {
  const bytes = object === undefined ? undefined : excessiveSize(object, kind.group, { limit, reviewBytes });
  if (bytes === undefined) return;
  throw new NotStorable(
    `the object needs at least ${bytes} bytes in the cluster's storage, which accepts ${limit}, so it could not be stored; ` +
      "make it smaller, for example by splitting it (a cluster that accepts more needs serve --object-limit)",
  );
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
    if (error instanceof SyntaxError) throw new Unreadable(`the body is not JSON${placeOf(error)}`);
    if (error instanceof TypeError) throw new Unreadable("the body is not UTF-8");
    throw error;
  }
  if (isFields(review)) return review;
  throw new Unreadable(`the body is ${named(review)}; expected an AdmissionReview object`);
}

/** Only the place: the rest of the message quotes the body, which may contain anything. */
function placeOf({ message }: SyntaxError): string {
  const position = /at position \d+/.exec(message)?.[0];
  return position === undefined ? "" : ` (error ${position})`;
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
    `apiVersion is ${named(apiVersion)}; Meshward supports only "admission.k8s.io/v1": set admissionReviewVersions: ["v1"]`,
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
    throw new Unreadable("Meshward does not review CONNECT; remove it from the operations of the webhook's rules");
  }
  throw new Unreadable(`request.operation is ${named(value)}; expected CREATE, UPDATE or DELETE`);
}

function readSubResource(request: Fields): string {
  const subResource = text(request, "subResource", "request.");
  if (judgedSubResources.has(subResource)) return subResource;
  throw new Unreadable(
    `Meshward does not review the subresource ${named(subResource)}; remove it from the resources of the webhook's rules`,
  );
}

/** Any version of the kind is accepted, because the API server converts objects to the version in the webhook's rules. */
function readObject(request: Fields, field: "object" | "oldObject", kind: GroupVersionKind): Fields {
  const object = request[field];
  if (!isFields(object)) {
    throw new Unreadable(`request.${field} is ${named(object)}; it is required on ${String(request.operation)}`);
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

/** An absent field is read as "". */
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

/** Checks the depth without recursion. A level needs at least two bytes, so small bodies are not checked. */
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
        throw new Unreadable(`it contains more than ${mostContainers} objects and lists`);
    }
    containers += next.length;
    level = next;
  }
}

function collectContainers(value: object, into: object[]): void {
  for (const member of Array.isArray(value) ? (value as unknown[]) : Object.values(value))
    if (typeof member === "object" && member !== null) into.push(member);
}
