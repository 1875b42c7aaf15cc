/** A review exceeded its budget of CPU time, or one of its steps exceeded the limit of a step. */
export class BudgetExceeded extends Error {
  override readonly name = "BudgetExceeded";
  constructor(limitMs: number, what: "review" | "step" = "review") {
    super(
      what === "review"
        ? `the review needs more than ${limitMs} ms of CPU time, the limit for one review`
        : `one step of the review needs more than ${limitMs} ms of CPU time, the limit for one step`,
    );
  }
}

/** The number of visited objects after which the clock is read, at most. Most reviews visit fewer and never read it. */
const mostStride = 512;
/** The time between two readings, in milliseconds: where visits cost much, the clock is read after fewer of them. */
const betweenMs = 1;

export interface BudgetLimits {
  /** CPU time of one review, in milliseconds. */
  readonly limitMs: number;
  /** The CPU time after which the review yields at the end of the current step, in milliseconds. */
  readonly sliceMs: number;
  /**
   * The longest CPU time without yielding, in milliseconds; default: no limit but that of the review. Others are delayed for
   * as long as a step that does not end takes, so that it is not continued.
   */
  readonly stepMs?: number;
  /** CPU time of this thread so far, in milliseconds. */
  readonly cpuMs: () => number;
}

/**
 * The budget of CPU time of one review. The clock is read after a number of visited objects, fewer where a visit
 * costs much. `cpuMs` is the CPU time of this thread; time of other tasks between two slices does not count.
 */
export class Budget {
  readonly #limitMs: number;
  readonly #sliceMs: number;
  readonly #stepMs: number;
  readonly #cpuMs: () => number;
  #stride = mostStride;
  #left = mostStride;
  #usedMs = 0;
  #sliceStart: number;
  #readMs: number;
  #isOver = false;
  #isEnded = false;

  constructor({ limitMs, sliceMs, stepMs = Number.POSITIVE_INFINITY, cpuMs }: BudgetLimits) {
    this.#limitMs = limitMs;
    this.#sliceMs = sliceMs;
    this.#stepMs = stepMs;
    this.#cpuMs = cpuMs;
    this.#sliceStart = this.#readMs = cpuMs();
  }

  /** Counts visited objects. Throws BudgetExceeded when the time is used up. */
  readonly spend = (objects: number): void => {
    this.#left -= objects;
    if (this.#left > 0 || this.#isEnded) return;
    const nowMs = this.#cpuMs();
    const sliceMs = nowMs - this.#sliceStart;
    this.#stride = Math.max(1, Math.min(mostStride, (this.#stride * betweenMs) / (nowMs - this.#readMs)));
    this.#left = this.#stride;
    this.#readMs = nowMs;
    if (this.#usedMs + sliceMs > this.#limitMs) throw new BudgetExceeded(this.#limitMs);
    if (sliceMs > this.#stepMs) throw new BudgetExceeded(this.#stepMs, "step");
    this.#isOver = sliceMs >= this.#sliceMs;
  };

  /** Whether the review should yield before the next object. Throws BudgetExceeded when the time is used up. */
  isSliceOver(): boolean {
    this.spend(1);
    return this.#isOver;
  }

  /** Ends a slice, before the review yields. */
  suspend(): void {
    this.#usedMs += this.#cpuMs() - this.#sliceStart;
    this.#isOver = false;
  }
  /** Begins the next slice. */
  resume(): void {
    this.#sliceStart = this.#readMs = this.#cpuMs();
  }
  /** Starts to count again, from the last reading of the clock, for the next of many evaluations that share the slices. */
  renew(): void {
    this.#usedMs = this.#sliceStart - this.#readMs;
  }
  /** Ends the evaluation. Reads of its sides after that are not counted. */
  end(): void {
    this.#isEnded = true;
  }
}
