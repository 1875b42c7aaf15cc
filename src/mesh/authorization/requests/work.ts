/** The work for one question is used up: its answer stays open. */
export class Undecided extends Error {}

/** What a step has found, and the work that it took, which is spent again wherever the result is used. */
export interface Kept {
  readonly result: object | undefined;
  readonly spent: number;
}

/**
 * What steps have found for many questions about the same policies: that values meet a condition, by what they met before and by the
 * list of the condition. Each result is that of the step itself, so that it does not matter which question has found it.
 */
export class Memory {
  readonly #in = new Map<object, Map<object, Kept>>();
  readonly #out = new Map<object, Map<object, Kept>>();
  #left: number;

  /** `most`: so many results are kept. */
  constructor(most = Number.POSITIVE_INFINITY) {
    this.#left = most;
  }

  /** What is left of the values `before` by a condition with this list. */
  known(before: object, list: object, not: boolean): Kept | undefined {
    return (not ? this.#out : this.#in).get(before)?.get(list);
  }

  keep(before: object, list: object, not: boolean, kept: Kept): void {
    if (this.#left-- <= 0) return;
    const all = not ? this.#out : this.#in;
    const there = all.get(before);
    if (there === undefined) all.set(before, new Map([[list, kept]]));
    else there.set(list, kept);
  }
}

/** Limits the work for one question, in compared values. Questions that policies can make arbitrarily hard end here. */
export class Work {
  /** What other questions have found; undefined: nothing is kept. */
  readonly memory: Memory | undefined;
  #left: number;
  #spent = 0;

  constructor(limit: number, memory?: Memory) {
    this.#left = limit;
    this.memory = memory;
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

/** The work for one question. */
export const workOfQuestion = 60_000;

/** The work for all questions about one change. */
export const workOfAll = 400_000;

/** A limit of work that several questions share. `visited` receives the work that was done, in compared values. */
export class SharedWork {
  readonly #visited: (values: number) => void;
  #left = workOfAll;

  constructor(visited: (values: number) => void) {
    this.#visited = visited;
  }

  /** Undefined: the question takes too much work. */
  answer<T>(ask: (work: Work) => T): T | undefined {
    const work = new Work(Math.min(workOfQuestion, this.#left));
    try {
      return ask(work);
    } catch (error) {
      if (!(error instanceof Undecided)) throw error;
      return undefined;
    } finally {
      this.#left -= work.spent;
      this.#visited(work.spent);
    }
  }
}
