import { member } from "../kube/read.ts";
import type { PatchOperation } from "./review.ts";

/** Formats a path as a JSON pointer (RFC 6901): `istio.io/rev` becomes `istio.io~1rev`. */
export const pointer = (...steps: readonly string[]): string =>
  steps.map((step) => `/${step.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/**
 * Adds labels and changes no others. Creates `/metadata/labels` if it is absent or null, because an operation below a
 * missing parent cannot be applied, and the API server then fails the request regardless of the failure policy.
 */
export function addLabels(raw: unknown, labels: Readonly<Record<string, string>>): readonly PatchOperation[] {
  const entries = Object.entries(labels);
  if (entries.length === 0) return [];
  const there = member(member(raw, "metadata"), "labels");
  if (there === undefined || there === null) return [{ op: "add", path: pointer("metadata", "labels"), value: labels }];
  return entries.map(([key, value]) => ({ op: "add", path: pointer("metadata", "labels", key), value }));
}
