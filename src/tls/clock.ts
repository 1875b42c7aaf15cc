/**
 * A wall clock for certificates, because a machine that was suspended must notice that a certificate expired
 * meanwhile.
 */
export interface Clock {
  /** milliseconds since 1970 */
  now(): number;
  /**
   * Calls `task` every `periodMs`, first after `periodMs`; the returned function stops it. Does not keep the process
   * alive.
   */
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
