/**
 * The candidate that a user probably meant: the one that needs the fewest edits (insert, delete, replace, swap of two
 * neighbours), if they are few for the length of the word. Case is ignored. Of equally near candidates, the first. In a word of
 * three letters, two edits are few only behind the same first letter: `Foo` is not `Job`.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let fewest = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    // The lengths alone are a lower bound, and a hostile word may be very long.
    if (Math.abs(candidate.length - word.length) >= fewest) continue;
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance >= fewest || distance >= candidate.length) continue;
    if (distance > 1 && word.length <= 3 && candidate[0]?.toLowerCase() !== wanted[0]) continue;
    fewest = distance;
    best = candidate;
  }
  return best;
}

/** Returns `; did you mean "deny"?`, or an empty string if no candidate is near. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  const meant = nearest(word, candidates);
  return meant === undefined ? "" : `; did you mean ${JSON.stringify(meant)}?`;
}

/** Optimal string alignment: each pair of neighbours is swapped at most once. */
function editDistance(from: string, to: string): number {
  let [last, row] = [new Array<number>(), Array.from({ length: to.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = at(row, j - 1) + (from[i - 1] === to[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const swapped = isSwap ? at(last, j - 2) + 1 : replaced;
      next.push(Math.min(replaced, swapped, at(row, j) + 1, at(next, j - 1) + 1));
    }
    [last, row] = [row, next];
  }
  return at(row, to.length);
}

const at = (row: readonly number[], j: number): number => row[j] ?? 0;
