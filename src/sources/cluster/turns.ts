import { setImmediate as nextTurn } from "node:timers/promises";

let last: Promise<void> = Promise.resolve();

/**
 * A turn of the event loop that nobody else gets from here. Whoever reads much waits for one before each piece, so that
 * several who read at the same time stand in the way of reviews no longer than one does.
 */
export function ownTurn(): Promise<void> {
  last = last.then(() => nextTurn());
  return last;
}
