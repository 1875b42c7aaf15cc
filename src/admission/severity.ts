import type { Ruling } from "../engine/ruling.ts";
import { isAsStrict } from "../engine/setting.ts";
import type { Path } from "../kube/read.ts";

/** So many rulings are compared before others get a turn. */
const comparedAtOnce = 1_000;
/** So many rulings of one mode and rule are put in order: more than any text has. */
const mostInOrder = 1_000;

/** What rulings are sorted by. Each part decides among those that have all earlier parts in common. */
const parts: readonly ((ruling: Ruling) => string)[] = [
  ({ finding: { rule } }) => rule.id,
  // Together with the next part this is idOf, so that they sort as messages name them.
  ({ finding: { subject } }) => {
    const { namespace } = subject.metadata;
    return `${subject.originKind} ${namespace === "" ? "" : `${namespace}/`}`;
  },
  ({ finding: { subject } }) => subject.metadata.name || `${subject.metadata.generateName ?? ""}*`,
  ({ finding: { at } }) => sortable(at),
  ({ finding: { message } }) => message,
];

/**
 * The rulings that have an effect, most severe first, by rule, and in an order that depends only on their content; then those
 * that are off. A review can have tens of thousands, so that this yields in between, and of one rule only the first thousand
 * are in order: the others are only counted.
 */
export function* bySeverity(rulings: readonly Ruling[]): Generator<void, readonly Ruling[]> {
  if (rulings.length < 2) return rulings;
  const byMode = Map.groupBy(rulings, ({ mode }) => mode);
  const sorted: Ruling[] = [];
  for (const mode of [...byMode.keys()].sort((a, b) => (isAsStrict(a, b) ? -1 : 1)))
    yield* addSorted(byMode.get(mode) ?? [], { part: mode === "off" ? parts.length : 0, end: all }, sorted);
  return sorted;
}

const all = Number.POSITIVE_INFINITY;

/** The part to sort by, and the number of sorted rulings from which on the order no longer matters. */
interface Place {
  readonly part: number;
  readonly end: number;
}

/** Sorts by one part after the other, so that no step compares many rulings with each other. */
function* addSorted(rulings: readonly Ruling[], { part, end }: Place, sorted: Ruling[]): Generator<void, void> {
  const partOf = parts[part];
  if (rulings.length > comparedAtOnce) yield;
  if (partOf === undefined || rulings.length < 2 || sorted.length >= end) {
    for (const ruling of rulings) sorted.push(ruling);
    return;
  }
  const groups = Map.groupBy(rulings, partOf);
  for (const key of [...groups.keys()].sort()) {
    const before = sorted.length;
    // The first part is the rule.
    const next = { part: part + 1, end: part === 0 ? sorted.length + mostInOrder : end };
    yield* addSorted(groups.get(key) ?? [], next, sorted);
    if (Math.floor(sorted.length / comparedAtOnce) > Math.floor(before / comparedAtOnce)) yield;
  }
}

/** Sorts `[10]` after `[9]`. */
const sortable = (at: Path): string =>
  at.map((step) => (typeof step === "number" ? String(step).padStart(8, "0") : step)).join(".");
