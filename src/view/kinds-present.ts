import type { Kind } from "../kube/kinds.ts";

const sets = new Map<string, ReadonlySet<Kind>>();
/** Kinds appear in a cluster one after the other and seldom disappear, so that few sets are ever in use. */
const mostKept = 64;

/** The set of these kinds: for the same kinds in any order it is the same object, so that it can be a key. */
export function sameKinds(kinds: readonly Kind[]): ReadonlySet<Kind> {
  const sorted = kinds.toSorted();
  const name = sorted.join();
  let found = sets.get(name);
  if (found === undefined) {
    if (sets.size >= mostKept) sets.clear();
    sets.set(name, (found = new Set(sorted)));
  }
  return found;
}
