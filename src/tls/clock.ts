/** Time as certificates need it: a wall clock, because a suspended machine must notice what expired meanwhile. */
export interface Clock {
  /** milliseconds since 1970 */
  now(): number;
  /** Calls `task` every `periodMs`, and not at once; the returned function ends it. Does not keep the process alive. */
  every(periodMs: number, task: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  every(periodMs, task) {
    const timer = setInterval(task, periodMs);
    timer.unref();
    return () => clearInterval(timer);
  },
};
