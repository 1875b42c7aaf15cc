import { readObject } from "../kube/object.ts";
import { isObject, member } from "../kube/read.ts";
import type { EnrollmentMutation, Policies } from "../policy/policies.ts";
import { quoted } from "../text/printable.ts";
import { addLabels } from "./patch.ts";
import type { AdmissionRequest, Decision } from "./review.ts";
import { requesterOf } from "./writer.ts";
import { dataplaneMode, enrollmentLabels, useWaypoint } from "../mesh/objects/labels.ts";

/** Somebody has decided how this namespace belongs to the mesh; a misspelt value is a finding, not ours to overwrite. */

/**
 * The mutation `namespace-ambient-enrollment`. Pure, and idempotent: what it has enrolled has the label, and is left
 * alone. `never` names namespaces that no policy can have enrolled.
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
  auditAnnotations: { decision: "allow", mutation: "namespace-ambient-enrollment" },
  rules: [],
  outcome: "allow",
});

/** What was enrolled and is not meant to leave stays, without a word: nothing changes. */
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

/** Through a subresource nobody makes a namespace. */
const isNamespaceToBe = ({ kind, subResource, operation }: AdmissionRequest): boolean =>
  kind.group === "" && kind.kind === "Namespace" && subResource === "" && operation !== "DELETE";

/** Under `create` a label that somebody took off stays off. */
const reaches = ({ mode }: EnrollmentMutation, { operation }: AdmissionRequest): boolean =>
  mode === "reconcile" || (mode === "create" && operation === "CREATE");

/** Neither being deleted nor decided. What has labels or metadata of a wrong type, the API server refuses itself. */
function isOpen(raw: unknown): boolean {
  const metadata = member(raw, "metadata");
  if (!isObject(metadata) || isPresent(metadata.deletionTimestamp)) return false;
  const labels = member(metadata, "labels");
  if (!isPresent(labels)) return true;
  return isObject(labels) && !enrollmentLabels.some((key) => Object.hasOwn(labels, key));
}

const isPresent = (value: unknown): boolean => value !== undefined && value !== null;

/** Such as the API server will make it: five characters more (k8s.io/apiserver pkg/storage/names), so that an exception by prefix holds. */
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
 * Of `keys` the labels that a server-side apply drops although nobody has taken them off. An applier may remove only
 * what it has applied; but where it takes over what client-side apply managed (`kubectl apply --server-side`, Flux:
 * client-go util/csaupgrade), it owns the map of labels as a whole, and letting go of it drops every label that no one
 * owns. What a mutation has added is owned by no one.
 */
export function labelsLost(request: AdmissionRequest, keys: readonly string[]): Record<string, string> {
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
