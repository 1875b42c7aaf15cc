import { isSameBranch, type Path } from "../kube/read.ts";

/**
 * Whether a value that may stand for a placeholder resolves the fault at a place: no fault is left there, and the value brings about
 * none above or below it. One that it brings about shows that it cannot stand there, and may hide the other.
 */
export function isResolved(
  at: Path,
  faults: { readonly before: readonly Path[]; readonly after: readonly Path[] },
): boolean {
  const before = new Set(faults.before.map(pathOf));
  const place = pathOf(at);
  return faults.after.every(
    (other) => pathOf(other) !== place && (before.has(pathOf(other)) || !isSameBranch(other, at)),
  );
}

export const pathOf = (at: Path): string => at.join("\n");
