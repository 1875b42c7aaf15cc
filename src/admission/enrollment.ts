import { readObject } from "../kube/object.ts";
import { isObject, member } from "../kube/read.ts";
import type { EnrollmentMutation, Policies } from "../policy/policies.ts";
import { quoted } from "../text/printable.ts";
import { addLabels } from "./patch.ts";
import type { AdmissionRequest, Decision } from "./review.ts";
import { requesterOf } from "./writer.ts";
import { dataplaneMode, enrollmentLabels, useWaypoint } from "../mesh/objects/labels.ts";

/** Whether the namespace already has an enrollment label. A misspelt value is reported by a rule and not overwritten. */

/**
 * The mutation `namespace-ambient-enrollment`. Pure and idempotent, because an enrolled namespace has the label. `never`
 * lists namespaces that no policy can enroll.
 */
export function enroll(
  request: AdmissionRequest,
  policies: Pick<Policies, "enrollmentOf">,
  never: readonly string[] = [],
): Decision {
  if (!isNamespaceToBe(request) || !isOpen(request.object)) return untouched;
  const { metadata } = readObject("Namespace", request.object);
  const name = metadata.name || request.name;
  const place = { name: name || sampleName(metadata.generateName), labels: metadata.labels };
  const enrollment = policies.enrollmentOf(place, requesterOf(request));
  if (never.includes(place.name) || enrollment.mode === "off") return untouched;
  if (!reaches(enrollment, request)) return keep(request);
  const labels = missingLabels(metadata.labels, enrollment);
  return adding(request, labels, [warning(name, labels)]);
}

const adding = (
  { object }: AdmissionRequest,
  labels: Readonly<Record<string, string>>,
  warnings: readonly string[],
): Decision => ({
  allowed: true,
  warnings,
  patch: addLabels(object, labels),
  addedLabels: Object.keys(labels),
  auditAnnotations: { decision: "allow", mutation: "namespace-ambient-enrollment" },
  rules: [],
  outcome: "allow",
});

/** Restores a label that an update drops unintentionally, without a warning, because the effective state does not change. */
function keep(request: AdmissionRequest): Decision {
  const labels = labelsLost(request, [dataplaneMode, useWaypoint]);
  return labels[dataplaneMode] === "ambient" ? adding(request, labels, []) : untouched;
}

const untouched: Decision = Object.freeze({
  allowed: true,
  warnings: [],
  auditAnnotations: { decision: "allow" },
  rules: [],
  outcome: "allow",
});

/** A subresource cannot create a namespace. */
const isNamespaceToBe = ({ kind, subResource, operation }: AdmissionRequest): boolean =>
  kind.group === "" && kind.kind === "Namespace" && subResource === "" && operation !== "DELETE";

/** With mode `create`, a label that a user removed is not added again. */
const reaches = ({ mode }: EnrollmentMutation, { operation }: AdmissionRequest): boolean =>
  mode === "reconcile" || (mode === "create" && operation === "CREATE");

/** Whether the namespace is not being deleted and has no enrollment label. The API server itself rejects labels or metadata of a wrong type. */
function isOpen(raw: unknown): boolean {
  const metadata = member(raw, "metadata");
  if (!isObject(metadata) || isPresent(metadata.deletionTimestamp)) return false;
  const labels = member(metadata, "labels");
  if (!isPresent(labels)) return true;
  return isObject(labels) && !enrollmentLabels.some((key) => Object.hasOwn(labels, key));
}

const isPresent = (value: unknown): boolean => value !== undefined && value !== null;

/** A name as the API server generates it, with five more characters (k8s.io/apiserver pkg/storage/names), so that exceptions by prefix match. */
const sampleName = (generateName: string | undefined): string => (generateName ? `${generateName}xxxxx` : "");

function missingLabels(
  there: Readonly<Record<string, string>>,
  enrollment: EnrollmentMutation,
): Record<string, string> {
  const labels: Record<string, string> = { [dataplaneMode]: "ambient" };
  if (enrollment.useWaypoint && !Object.hasOwn(there, useWaypoint)) labels[useWaypoint] = enrollment.useWaypoint;
  return labels;
}

function warning(name: string, labels: Readonly<Record<string, string>>): string {
  const shown = name === "" ? "The namespace" : `Namespace ${quoted(name)}`;
  const added = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return `${shown} joins the ambient mesh: added ${added.join(", ")}; to keep it out, label it ${dataplaneMode}=none`;
}

/**
 * The labels among `keys` that a server-side apply drops although the user did not remove them. An applier can remove only
 * fields that it applied. But when it takes over the fields of client-side apply (`kubectl apply --server-side`, Flux:
 * client-go util/csaupgrade), it owns the whole map of labels, and releasing it drops every label without an owner. A
 * label that a mutating webhook added has no owner.
 */
function labelsLost(request: AdmissionRequest, keys: readonly string[]): Record<string, string> {
  const { operation, object, oldObject, fieldManager } = request;
  if (operation !== "UPDATE" || !isApply(oldObject, fieldManager)) return {};
  const [before, after] = [oldObject, object].map((raw) => member(member(raw, "metadata"), "labels"));
  const lost: Record<string, string> = {};
  for (const key of keys) {
    const value = member(before, key);
    if (typeof value === "string" && !has(after, key) && !isOwned(oldObject, key)) lost[key] = value;
  }
  return lost;
}

const has = (labels: unknown, key: string): boolean => isObject(labels) && Object.hasOwn(labels, key);

function managedFields(raw: unknown): readonly unknown[] {
  const entries = member(member(raw, "metadata"), "managedFields");
  return Array.isArray(entries) ? entries : [];
}

const isApply = (before: unknown, fieldManager: string): boolean =>
  managedFields(before).some(
    (entry) => member(entry, "operation") === "Apply" && member(entry, "manager") === fieldManager,
  );

const isOwned = (before: unknown, key: string): boolean =>
  managedFields(before).some((entry) => {
    const labels = member(member(member(entry, "fieldsV1"), "f:metadata"), "f:labels");
    return has(labels, `f:${key}`);
  });
