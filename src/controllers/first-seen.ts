/** What a report remembers: a finding and its time, or that it only counts the other findings of a rule. */
export type RememberedResult =
  | {
      readonly id: string;
      readonly seconds: number;
      /** False: the finding was there before `seconds`, and nobody knows since when. */
      readonly isExact: boolean;
    }
  | { readonly unlisted: { readonly rule: string; readonly namespace: string } };

/** Since when there is a finding. */
export interface Seen {
  /** In whole seconds since 1970. */
  readonly seconds: number;
  /** False: it was there when this replica began to audit, and nothing says since when. */
  readonly isExact: boolean;
}

/** What an audit found, as far as it matters here. */
export interface Found {
  readonly id: string;
  readonly rule: string;
  readonly namespace: string;
}

/**
 * When each finding was first seen. Reports keep it, so that it outlives this replica and its term as the leader. Where there
 * are none, the time of a finding that was there at the first audit of a term is not known.
 */
export class FirstSeen {
  #seen = new Map<string, Seen>();
  /** Of reports that count some findings instead of listing them: the namespace of the report and the rule. */
  readonly #counted = new Set<string>();
  /** Findings of the first audit, as long as the reports could not be read. */
  readonly #undecided = new Map<string, Found>();
  /** Whether reports keep what is noted; undefined: they could not be read yet. */
  #isKept: boolean | undefined;
  /** Whether there was an audit, so that reports with other findings are out of date. */
  #isUpdated = false;

  /** Whether anything is known about the time before now, so that an unknown finding is new. */
  get isInformed(): boolean {
    return this.#isUpdated || this.#seen.size > 0;
  }

  /** Takes over what a report says; the earlier time counts. The clock that wrote it may have been ahead of this one. */
  learn(result: RememberedResult, nowMs: number): void {
    if ("unlisted" in result) {
      if (this.#isKept === undefined) this.#counted.add(placeOf(result.unlisted));
      return;
    }
    const { id, seconds, isExact } = result;
    if (this.#isUpdated && !this.#seen.has(id)) return;
    const now = Math.floor(nowMs / 1_000);
    const known = this.#seen.get(id);
    const earlier = Math.min(seconds, known?.seconds ?? now, now);
    this.#seen.set(id, { seconds: earlier, isExact: isExact || known?.isExact === true });
    this.#undecided.delete(id);
  }

  /**
   * All reports were read. `isKept`: the cluster has definitions of reports, so that what they do not have was not there before.
   * Only the first time counts: definitions that come later remember nothing of the time before.
   */
  read(isKept: boolean): void {
    this.#isKept ??= isKept;
    for (const [id, found] of this.#undecided) {
      const seen = this.#seen.get(id);
      if (seen !== undefined && isKept && !this.#isCounted(found)) this.#seen.set(id, { ...seen, isExact: true });
    }
    this.#undecided.clear();
  }

  /** Notes the findings of an audit, and returns the ids of those that are new. Forgets all others. */
  update(findings: readonly Found[], nowMs: number): ReadonlySet<string> {
    const seconds = Math.floor(nowMs / 1_000);
    const before = this.#seen;
    const added = new Set<string>();
    this.#seen = new Map();
    for (const finding of findings) {
      const { id } = finding;
      const known = before.get(id);
      const unknownBefore = known === undefined && !this.#isUpdated ? this.#atStart(finding) : undefined;
      if (known === undefined && unknownBefore !== "counted") added.add(id);
      this.#seen.set(id, known ?? { seconds, isExact: unknownBefore === undefined });
    }
    for (const id of this.#undecided.keys()) if (!this.#seen.has(id)) this.#undecided.delete(id);
    this.#isUpdated = true;
    return added;
  }

  /** Why nothing says since when there is a finding of the first audit that reports do not list; undefined: it is new. */
  #atStart(finding: Found): "counted" | "not kept" | undefined {
    if (this.#isCounted(finding)) return "counted";
    if (this.#isKept === undefined) this.#undecided.set(finding.id, finding);
    return this.#isKept === true ? undefined : "not kept";
  }

  of(id: string): Seen | undefined {
    return this.#seen.get(id);
  }

  /** The report of the cluster also has what belongs to namespaces that can have none. */
  #isCounted({ rule, namespace }: Found): boolean {
    return this.#counted.has(placeOf({ rule, namespace })) || this.#counted.has(placeOf({ rule, namespace: "" }));
  }
}

const placeOf = ({ rule, namespace }: Omit<Found, "id">): string => `${namespace} ${rule}`;

/** In RFC 3339 and UTC, without fractions. */
export const timeOf = (seconds: number): string => new Date(seconds * 1_000).toISOString().replace(".000Z", "Z");
