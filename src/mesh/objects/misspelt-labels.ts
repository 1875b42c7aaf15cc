import { nearest } from "../../text/nearest.ts";

/** Whether some of these names of labels are not among the known ones, and each of those is nearly one of them. */
export function areMisspelt(names: readonly string[], known: ReadonlySet<string>): boolean {
  const missing = names.filter((name) => !known.has(name));
  return missing.length > 0 && missing.every((name) => nearest(name, known) !== undefined);
}
