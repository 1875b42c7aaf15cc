import type { Path } from "../../kube/read.ts";

/** A validation error of istiod, with its path. */
export interface Refusal {
  readonly at: Path;
  readonly message: string;
}

/**
 * What is refused of one object, in the order in which it is found. Nearly always nothing is, so paths are put together
 * from the inside out, and only where there is something to place.
 */
export class Refusals {
  readonly #found: { readonly at: (string | number)[]; readonly message: string }[] = [];

  get count(): number {
    return this.#found.length;
  }

  get all(): readonly Refusal[] {
    return this.#found;
  }

  /** `at` is relative to what is being looked at. */
  add(message: string, ...at: (string | number)[]): void {
    this.#found.push({ at, message });
  }

  /** Says where that is which was looked at since there were `count` refusals: the field, or the item of a field. */
  below(count: number, field: string, item?: number | string): void {
    for (let i = count; i < this.#found.length; i++) {
      const at = this.#found[i]?.at;
      if (item !== undefined) at?.unshift(item);
      at?.unshift(field);
    }
  }
}
