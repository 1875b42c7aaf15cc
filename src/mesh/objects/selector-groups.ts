import type { Labels } from "../../kube/object.ts";
import { selects } from "./selectors.ts";

/** The members with one selector, in the order in which they were added. */
export interface SelectorGroup<T> {
  readonly labels: Labels;
  readonly members: readonly T[];
}

/** A label in some selector, and the groups that are found by it because it is the rarest of their labels. */
interface Asked<T> {
  readonly id: number;
  readonly groups: SelectorGroup<T>[];
  uses: number;
  /** The result for objects that have this label and no other that some selector asks for, as most do. */
  alone?: readonly SelectorGroup<T>[];
}

/** With more labels in selectors than this, a result is not shared, because comparing the labels would cost more. */
const mostCompared = 32;

/**
 * An index of selectors by their labels, so that a workload is compared only with selectors that have a label of it.
 */
export class SelectorGroups<T> {
  readonly groups: readonly SelectorGroup<T>[];
  readonly #asked = new Map<string, Map<string, Asked<T>>>();
  readonly #found = new Map<string, readonly SelectorGroup<T>[]>();
  /** A selector without labels selects everything. */
  readonly #always: readonly SelectorGroup<T>[];
  #count = 0;
  /** The results for objects with many labels, which several rules ask for. Undefined: there was none. */
  #ofMany: WeakMap<Labels, readonly SelectorGroup<T>[]> | undefined;

  constructor(all: Iterable<readonly [selector: Labels, member: T]>) {
    const groups = new Map<string, { readonly labels: Labels; readonly members: T[] }>();
    for (const [labels, member] of all) {
      const text = selectorText(labels);
      const known = groups.get(text);
      if (known === undefined) groups.set(text, { labels, members: [member] });
      else known.members.push(member);
    }
    this.groups = [...groups.values()];
    for (const { labels } of this.groups) for (const key in labels) this.#askFor(key, labels[key] ?? "");
    const always: SelectorGroup<T>[] = [];
    for (const group of this.groups) (this.#rarestOf(group)?.groups ?? always).push(group);
    this.#always = always;
  }

  /** The groups that select these labels. The list is the same one for all labels that the same groups select. */
  selecting(labels: Labels): readonly SelectorGroup<T>[] {
    // Most policies of a mesh or a namespace have no selector.
    if (this.#asked.size === 0) return this.#always;
    const known = this.#ofMany?.get(labels);
    if (known !== undefined) return known;
    const met = this.#met(labels);
    if (met === undefined) return this.#always;
    if (!Array.isArray(met)) return (met.alone ??= this.#among([met], labels));
    if (met.length > mostCompared) {
      const found = this.#among(met, labels);
      (this.#ofMany ??= new WeakMap()).set(labels, found);
      return found;
    }
    const alike = met
      .map(({ id }) => id)
      .sort((a, b) => a - b)
      .join();
    let found = this.#found.get(alike);
    if (found === undefined) this.#found.set(alike, (found = this.#among(met, labels)));
    return found;
  }

  /** The labels that some selector asks for: none, one without a list, as most objects have, or several. */
  #met(labels: Labels): Asked<T> | Asked<T>[] | undefined {
    let met: Asked<T> | Asked<T>[] | undefined;
    for (const key in labels) {
      const asked = this.#asked.get(key)?.get(labels[key] ?? "");
      if (asked === undefined) continue;
      if (met === undefined) met = asked;
      else if (Array.isArray(met)) met.push(asked);
      else met = [met, asked];
    }
    return met;
  }

  #among(met: readonly Asked<T>[], labels: Labels): readonly SelectorGroup<T>[] {
    const found = met.flatMap(({ groups }) => groups.filter((group) => selects(group.labels, labels)));
    return this.#always.length === 0 ? found : [...this.#always, ...found];
  }

  #askFor(key: string, value: string): void {
    let values = this.#asked.get(key);
    if (values === undefined) this.#asked.set(key, (values = new Map()));
    const known = values.get(value);
    if (known === undefined) values.set(value, { id: this.#count++, groups: [], uses: 1 });
    else known.uses++;
  }

  #rarestOf({ labels }: SelectorGroup<T>): Asked<T> | undefined {
    let rarest: Asked<T> | undefined;
    for (const key in labels) {
      const asked = this.#asked.get(key)?.get(labels[key] ?? "");
      if (asked !== undefined && (rarest === undefined || asked.uses < rarest.uses)) rarest = asked;
    }
    return rarest;
  }
}

const texts = new WeakMap<Labels, string>();

/** A text that is equal for selectors with the same labels. */
export function selectorText(labels: Labels): string {
  let text = texts.get(labels);
  if (text === undefined) {
    const entries = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
    texts.set(labels, (text = JSON.stringify(entries)));
  }
  return text;
}
