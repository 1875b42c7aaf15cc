import { performance } from "node:perf_hooks";

/** Time and random numbers for retries, replaceable in tests. */
export interface Pace {
  /** monotonic time in milliseconds */
  now(): number;
  /** a random number: at least 0, below 1 */
  random(): number;
  /** Calls `task` once after the delay; the returned function cancels it. */
  after(delayMs: number, task: () => void): () => void;
}

export const systemPace: Pace = {
  now: () => performance.now(),
  random: () => Math.random(),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Resolves when the time is over, or immediately when `signal` is aborted. */
export function pause(pace: Pace, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const over = () => {
      cancel();
      signal.removeEventListener("abort", over);
      resolve();
    };
    const cancel = pace.after(delayMs, over);
    signal.addEventListener("abort", over);
  });
}

const shortestMs = 500;
const longestMs = 30_000;
const longestAskedMs = 120_000;

/**
 * The delay after the nth consecutive failure. It doubles from half a second to half a minute, and up to half of it is
 * random, so that replicas which lost the same server do not retry together. A Retry-After of the server is respected.
 */
export function backoffMs(failures: number, random: number, askedMs = 0): number {
  const full = Math.min(longestMs, shortestMs * 2 ** Math.min(failures, 16));
  const own = Math.max(shortestMs, full * (0.5 + random / 2));
  return Math.max(own, Math.min(askedMs, longestAskedMs) * (1 + random / 10));
}

/** Calls `onSilence` if `heard` is not called for the given time, because a lost peer looks like an idle one. */
export class SilenceWatch {
  readonly #pace: Pace;
  readonly #onSilence: (silentMs: number) => void;
  #limitMs: number;
  #heardAt: number;
  #cancel: () => void = () => undefined;

  constructor(pace: Pace, limitMs: number, onSilence: (silentMs: number) => void) {
    this.#pace = pace;
    this.#limitMs = limitMs;
    this.#onSilence = onSilence;
    this.#heardAt = pace.now();
    this.#arm(limitMs);
  }

  heard(limitMs = this.#limitMs): void {
    this.#heardAt = this.#pace.now();
    if (limitMs === this.#limitMs) return;
    this.#limitMs = limitMs;
    this.#cancel();
    this.#arm(limitMs);
  }

  stop(): void {
    this.#cancel();
  }

  /** One timer that checks the time when it fires, instead of a new timer for every chunk. */
  #arm(delayMs: number): void {
    this.#cancel = this.#pace.after(delayMs, () => {
      const silentMs = this.#pace.now() - this.#heardAt;
      if (silentMs >= this.#limitMs) this.#onSilence(silentMs);
      else this.#arm(this.#limitMs - silentMs);
    });
  }
}
