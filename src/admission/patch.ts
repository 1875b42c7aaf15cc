import { member } from "../kube/read.ts";
import type { PatchOperation } from "./review.ts";

/** A path as RFC 6901 writes it: `istio.io/rev` becomes `istio.io~1rev`. */
export const pointer = (...steps: readonly string[]): string =>
  steps.map((step) => `/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/**
 * Adds labels, and touches no other. `/metadata/labels` is made where it is absent or null: an operation below a missing
 * parent does not apply, and then the API server fails the request whatever the failure policy says.
 */
export function addLabels(raw: unknown, labels: Readonly<Record<string, string>>): readonly PatchOperation[] {
  const entries = Object.entries(labels);
  if (entries.length === 0) return [];
  const there = member(member(raw, "metadata"), "labels");
  if (there === undefined || there === null) return [{ op: "add", path: pointer("metadata", "labels"), value: labels }];
  return entries.map(([key, value]) => ({ op: "add", path: pointer("metadata", "labels", key), value }));
}
