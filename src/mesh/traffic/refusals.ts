import type { Path } from "../../kube/read.ts";

/** A validation error of istiod, with its path. */
export interface Refusal {
  readonly at: Path;
  readonly message: string;
}

/**
 * Collects the validation errors of one object, in the order in which they are found. Most objects have none, so paths are
 * built from the inside out, and only for errors.
 */
export class Refusals {
  readonly #found: { readonly at: (string | number)[]; readonly message: string }[] = [];

  get count(): number {
    return this.#found.length;
  }

  get all(): readonly Refusal[] {
    return this.#found;
  }

  /** `at` is relative to the value that is being validated. */
  add(message: string, ...at: (string | number)[]): void {
    this.#found.push({ at, message });
  }

  /** Prefixes the paths of the errors since `count` with the field, or the item of a field, that they were found in. */
  below(count: number, field: string, item?: number | string): void {
    for (let i = count; i < this.#found.length; i++) {
      const at = this.#found[i]?.at;
      if (item !== undefined) at?.unshift(item);
      at?.unshift(field);
    }
  }
}
