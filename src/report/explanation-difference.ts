import type { ExplanationLine } from "./explanation.ts";

/** A line that is removed (`-`), added (`+`), or that contains lines which differ (` `). */
export interface DifferingLine {
  readonly mark: "-" | "+" | " ";
  readonly line: ExplanationLine;
  readonly lines: readonly DifferingLine[];
}

/** The difference between two explanations of one target. Two lines are the same if `key` and `of` are equal. */
export function differenceOf(
  before: readonly ExplanationLine[],
  after: readonly ExplanationLine[],
): readonly DifferingLine[] {
  const old = named(before);
  const now = named(after);
  const gone = [...old].filter(([name]) => !now.has(name));
  const place = new Map([...old.keys()].map((name, i) => [name, i]));
  const differing: DifferingLine[] = [];
  let shown = 0;
  // A removed line is shown at its old position, before the next line that is still there.
  const showGone = (until: number) => {
    for (let next = gone[shown]; next && (place.get(next[0]) ?? 0) < until; next = gone[++shown])
      differing.push(whole("-", next[1]));
  };
  for (const [name, line] of now) {
    const was = old.get(name);
    if (was !== undefined) showGone(place.get(name) ?? 0);
    differing.push(...(was === undefined ? [whole("+", line)] : pair(was, line)));
  }
  showGone(Number.POSITIVE_INFINITY);
  return differing;
}

function pair(before: ExplanationLine, after: ExplanationLine): readonly DifferingLine[] {
  const lines = differenceOf(before.lines ?? [], after.lines ?? []);
  if (before.text !== after.text || (before.counts ?? true) !== (after.counts ?? true))
    return [
      { mark: "-", line: before, lines: [] },
      { mark: "+", line: after, lines },
    ];
  return lines.length === 0 ? [] : [{ mark: " ", line: after, lines }];
}

const whole = (mark: "-" | "+", line: ExplanationLine): DifferingLine => ({
  mark,
  line,
  lines: (line.lines ?? []).map((child) => whole(mark, child)),
});

/** Lines by their subject; a second line with the same subject is a different line. */
function named(lines: readonly ExplanationLine[]): ReadonlyMap<string, ExplanationLine> {
  const found = new Map<string, ExplanationLine>();
  for (const line of lines) {
    const name = JSON.stringify([line.key, line.of ?? ""]);
    let free = name;
    for (let i = 2; found.has(free); i++) free = `${name}#${i}`;
    found.set(free, line);
  }
  return found;
}
