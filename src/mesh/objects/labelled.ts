import type { Labels } from "../../kube/object.ts";
import { selects } from "./selectors.ts";
import { selectorText } from "./selector-groups.ts";

/** Comparing so many objects costs less than an index of them. */
const fewEnough = 4;

/** An index of objects by label, so that a selector is compared only with objects that have a label of it. */
export class Labelled<T> {
  readonly all: readonly T[];
  readonly #labelsOf: (object: T) => Labels;
  readonly #selected = new Map<string, readonly T[]>();
  readonly #among = new Map<readonly T[], Labelled<T>>();
  #byLabel: Map<string, Map<string, T[]>> | undefined;

  constructor(all: readonly T[], labelsOf: (object: T) => Labels) {
    this.all = all;
    this.#labelsOf = labelsOf;
  }

  /** The selected objects in their order; all of them without labels. The list is the same one for equal selectors. */
  selected(selector: Labels): readonly T[] {
    if (hasNone(selector)) return this.all;
    const text = selectorText(selector);
    let found = this.#selected.get(text);
    if (found === undefined) {
      const some = this.#fewestFor(selector);
      const isSelected = (object: T): boolean => selects(selector, this.#labelsOf(object));
      // The list of one label needs no copy, and most selectors have one label.
      found = some.every(isSelected) ? some : some.filter(isSelected);
      this.#selected.set(text, found);
    }
    return found;
  }

  /** The selected objects by their labels, for selectors that narrow this one. */
  among(selector: Labels): Labelled<T> {
    const selected = this.selected(selector);
    if (selected.length === this.all.length) return this;
    let found = this.#among.get(selected);
    if (found === undefined) this.#among.set(selected, (found = new Labelled(selected, this.#labelsOf)));
    return found;
  }

  #fewestFor(selector: Labels): readonly T[] {
    if (this.all.length <= fewEnough) return this.all;
    let fewest = this.all;
    for (const key in selector) {
      const some = this.#labels()
        .get(key)
        ?.get(selector[key] ?? "");
      if (some === undefined) return [];
      if (some.length < fewest.length) fewest = some;
    }
    return fewest;
  }

  #labels(): Map<string, Map<string, T[]>> {
    if (this.#byLabel !== undefined) return this.#byLabel;
    const byLabel = new Map<string, Map<string, T[]>>();
    for (const object of this.all) {
      const labels = this.#labelsOf(object);
      for (const key in labels) enter(byLabel, [key, labels[key] ?? ""], object);
    }
    return (this.#byLabel = byLabel);
  }
}

function hasNone(labels: Labels): boolean {
  for (const _ in labels) return false;
  return true;
}

function enter<T>(byLabel: Map<string, Map<string, T[]>>, [key, value]: readonly [string, string], object: T): void {
  let values = byLabel.get(key);
  if (values === undefined) byLabel.set(key, (values = new Map()));
  const known = values.get(value);
  if (known === undefined) values.set(value, [object]);
  else known.push(object);
}
