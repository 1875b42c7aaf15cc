import { setImmediate as nextTurn } from "node:timers/promises";

/** The time after which long work of a server lets reviews run, in milliseconds. */
const sliceMs = 5;

/** Work that reviews wait for, in slices. */
export class Slices {
  #startMs = performance.now();

  /** Lets other tasks of this thread run, if the slice is over. */
  async pause(): Promise<void> {
    if (performance.now() - this.#startMs < sliceMs) return;
    await nextTurn();
    this.#startMs = performance.now();
  }
}

/** Runs steps that yield where they may pause. */
export async function inSlices<T>(steps: Generator<void, T>): Promise<T> {
  const slices = new Slices();
  for (let step = steps.next(); ; step = steps.next()) {
    if (step.done) return step.value;
    await slices.pause();
  }
}
