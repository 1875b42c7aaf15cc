/**
 * When each finding was first seen, in whole seconds since 1970. Reports keep it, so that it outlives this replica and its
 * term as the leader.
 */
export class FirstSeen {
  readonly #seconds = new Map<string, number>();
  /** Whether there was an audit, so that reports with other findings are out of date. */
  #isUpdated = false;

  /** Whether anything is known about the time before now, so that an unknown finding is new. */
  get isInformed(): boolean {
    return this.#isUpdated || this.#seconds.size > 0;
  }

  /** Takes a time over from a report; the earlier one counts. The clock that wrote it may have been ahead of this one. */
  learn(id: string, seconds: number, nowMs: number): void {
    if (this.#isUpdated && !this.#seconds.has(id)) return;
    const now = Math.floor(nowMs / 1_000);
    this.#seconds.set(id, Math.min(seconds, this.#seconds.get(id) ?? now, now));
  }

  /** Notes the findings of an audit, and returns those that are new. Forgets all others. */
  update(ids: readonly string[], nowMs: number): ReadonlySet<string> {
    const now = Math.floor(nowMs / 1_000);
    const before = new Map(this.#seconds);
    const added = new Set<string>();
    this.#seconds.clear();
    for (const id of ids) {
      const known = before.get(id);
      if (known === undefined) added.add(id);
      this.#seconds.set(id, known ?? now);
    }
    this.#isUpdated = true;
    return added;
  }

  of(id: string): number | undefined {
    return this.#seconds.get(id);
  }
}
