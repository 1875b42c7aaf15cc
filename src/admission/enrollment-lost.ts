import { isObject, member } from "../kube/read.ts";
import type { AdmissionRequest } from "./review.ts";

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
