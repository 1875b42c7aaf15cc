import type { Clock } from "./clock.ts";

export interface PolledContentOptions<T> {
  /** Reads and checks the content. What it throws is the reason why a replacement is rejected. */
  readonly read: () => T;
  readonly isSame: (a: T, b: T) => boolean;
  readonly clock: Clock;
  /** how often the content is read again */
  readonly pollMs: number;
}

/** Content of files that something else writes; the last valid content stays in use. */
export interface PolledContent<T> {
  current(): T;
  /** Called with each content that replaces the current one, after `current` returns it. */
  onChange(listener: (next: T) => void): void;
  /** Called once for each reason why a replacement is rejected. */
  onProblem(listener: (problem: string) => void): void;
  /** Looks for a replacement now. */
  reload(): void;
  close(): void;
}

/** Throws what `read` throws at the start. */
export function polledContent<T>({ read, isSame, clock, pollMs }: PolledContentOptions<T>): PolledContent<T> {
  const changed: ((next: T) => void)[] = [];
  const failed: ((problem: string) => void)[] = [];
  let current = read();
  let lastProblem = "";

  const reload = () => {
    try {
      const next = read();
      lastProblem = "";
      if (isSame(next, current)) return;
      current = next;
      for (const listener of changed) listener(next);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem === lastProblem) return;
      lastProblem = problem;
      for (const listener of failed) listener(problem);
    }
  };
  const stop = clock.every(pollMs, reload);
  return {
    current: () => current,
    onChange: (listener) => void changed.push(listener),
    onProblem: (listener) => void failed.push(listener),
    reload,
    close: stop,
  };
}
