/** A review has used the CPU time that one review may have. */
export class BudgetExceeded extends Error {
  override readonly name = "BudgetExceeded";
  constructor(limitMs: number) {
    super(`the review used more than the ${limitMs} ms of CPU time that one review may have`);
  }
}

/** Visited objects after which the clock is read: a usual review ends before, and reads it not once. */
const stride = 512;

export interface BudgetLimits {
  /** CPU time of one review, in milliseconds. */
  readonly limitMs: number;
  /** CPU time without a pause, in milliseconds. */
  readonly sliceMs: number;
  /** CPU time of this thread so far, in milliseconds. */
  readonly cpuMs: () => number;
}

/**
 * The CPU time of one review, in milliseconds: how much it may have in all, and in one go before it lets others run.
 * Work is counted where objects are visited, and the clock is read now and then. `cpuMs` is the time that this thread
 * has computed; what others do between two slices does not count.
 */
export class Budget {
  readonly #limitMs: number;
  readonly #sliceMs: number;
  readonly #cpuMs: () => number;
  #left = stride;
  #usedMs = 0;
  #sliceStart: number;
  #isOver = false;
  #isEnded = false;

  constructor({ limitMs, sliceMs, cpuMs }: BudgetLimits) {
    this.#limitMs = limitMs;
    this.#sliceMs = sliceMs;
    this.#cpuMs = cpuMs;
    this.#sliceStart = cpuMs();
  }

  /** Counts visited objects. Throws BudgetExceeded when the time is used up. */
  readonly spend = (objects: number): void => {
    this.#left -= objects;
    if (this.#left > 0 || this.#isEnded) return;
    this.#left = stride;
    const sliceMs = this.#cpuMs() - this.#sliceStart;
    if (this.#usedMs + sliceMs > this.#limitMs) throw new BudgetExceeded(this.#limitMs);
    this.#isOver = sliceMs >= this.#sliceMs;
  };

  /** Whether others should run before the next object is judged. Throws BudgetExceeded when the time is used up. */
  isSliceOver(): boolean {
    this.spend(1);
    return this.#isOver;
  }

  /** Ends a slice, before others run. */
  suspend(): void {
    this.#usedMs += this.#cpuMs() - this.#sliceStart;
    this.#isOver = false;
  }
  /** Begins the next slice. */
  resume(): void {
    this.#sliceStart = this.#cpuMs();
  }
  /** The judgement is made: what is read of its sides afterwards is not counted. */
  end(): void {
    this.#isEnded = true;
  }
}
