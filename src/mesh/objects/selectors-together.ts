import type { Labels } from "../../kube/object.ts";

/** Selectors with the same label keys. */
interface Alike {
  readonly keys: readonly string[];
  readonly selectors: readonly Labels[];
  /** The combinations of values that the selectors have for some of the keys. */
  readonly values: Map<string, ReadonlySet<string>>;
}

/** Selectors (`matchLabels`), indexed to find out whether one workload can be selected by them and by another one. */
export class SelectorsTogether {
  readonly #alike: readonly Alike[];

  constructor(selectors: readonly Labels[]) {
    this.#alike = [...Map.groupBy(selectors, (labels) => JSON.stringify(Object.keys(labels).sort())).values()].map(
      (some) => ({ keys: Object.keys(some[0] ?? {}).sort(), selectors: some, values: new Map() }),
    );
  }

  /** Whether a workload can have these labels and those of one of the selectors. */
  meet(labels: Labels): boolean {
    return this.#alike.some((some) => haveTogether(some, labels));
  }
}

/** Keys that both have need equal values. */
function haveTogether(some: Alike, labels: Labels): boolean {
  const shared = some.keys.filter((key) => Object.hasOwn(labels, key));
  const valuesOf = (of: Labels) => JSON.stringify(shared.map((key) => of[key]));
  const kind = JSON.stringify(shared);
  let values = some.values.get(kind);
  if (values === undefined) some.values.set(kind, (values = new Set(some.selectors.map(valuesOf))));
  return values.has(valuesOf(labels));
}
