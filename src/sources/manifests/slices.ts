import { setImmediate as nextTurn } from "node:timers/promises";

/** The time after which long work of a server lets reviews run, in milliseconds. */
const sliceMs = 5;

/** Work that reviews wait for, in slices. */
export class Slices {
  #startMs = performance.now();

  /** Lets other tasks of this thread run, if the slice is over. */
  async pause(): Promise<void> {
    if (!this.#isOver()) return;
    await nextTurn();
    this.#startMs = performance.now();
  }

  /** Runs steps that yield where they may pause. */
  async run<T>(steps: Generator<void, T>): Promise<T> {
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done) return step.value;
      if (this.#isOver()) await this.pause();
    }
  }

  #isOver(): boolean {
    return performance.now() - this.#startMs >= sliceMs;
  }
}

/** Runs steps that yield where they may pause. */
export const inSlices = <T>(steps: Generator<void, T>): Promise<T> => new Slices().run(steps);
