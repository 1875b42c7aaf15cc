import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pace } from "../../../src/sources/cluster/pace.ts";

/** Time that passes when a test says so; chance that is always the same. */
export class ManualPace implements Pace {
  readonly chance: number;
  /** Every delay that was asked for, in order. */
  readonly delays: number[] = [];
  readonly #timers = new Set<{ readonly due: number; readonly task: () => void }>();
  #now = 1_000;

  constructor(chance = 0.5) {
    this.chance = chance;
  }

  now(): number {
    return this.#now;
  }
  random(): number {
    return this.chance;
  }
  after(delayMs: number, task: () => void): () => void {
    const timer = { due: this.#now + delayMs, task };
    this.#timers.add(timer);
    this.delays.push(delayMs);
    return () => this.#timers.delete(timer);
  }

  /** How many wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Lets time pass, timer by timer. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#timers.delete(next);
      this.#now = next.due;
      next.task();
    }
    this.#now = end;
  }

  #next(end: number) {
    let first: { readonly due: number; readonly task: () => void } | undefined;
    for (const timer of this.#timers)
      if (timer.due <= end && (first === undefined || timer.due < first.due)) first = timer;
    return first;
  }
}

/** Waits for what goes over loopback; at most five seconds, in steps of a millisecond. */
export async function eventually(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 5_000; i++) {
    if (await isTrue()) return;
    await sleep(1);
  }
  assert.fail(`never happened: ${what}`);
}
