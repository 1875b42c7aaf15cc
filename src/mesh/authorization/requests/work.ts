/** The work for one question is used up: its answer stays open. */
export class Undecided extends Error {}

/** Limits the work for one question, in compared values. Questions that policies can make arbitrarily hard end here. */
export class Work {
  #left: number;
  #spent = 0;

  constructor(limit: number) {
    this.#left = limit;
  }

  /** Throws Undecided if too much is spent. */
  spend(values: number): void {
    this.#left -= values;
    this.#spent += values;
    if (this.#left < 0) throw new Undecided("this question takes too much work");
  }

  get spent(): number {
    return this.#spent;
  }
}
