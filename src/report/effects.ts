/** What an explanation is about. */
export interface ExplanationTarget {
  readonly kind: string;
  /** Absent for a cluster-scoped object. */
  readonly namespace?: string;
  readonly name: string;
  /** For a host: the namespace of the clients. */
  readonly from?: string;
}

/** A line of an explanation that a change removes (`-`) or adds (`+`), or that contains such lines (` `). */
export interface MarkedLine {
  readonly mark: "-" | "+" | " ";
  /** Stable; the text may change. */
  readonly key: string;
  readonly of: string | null;
  readonly text: string;
  readonly lines: readonly MarkedLine[];
}

/** What a change does to one namespace, or to one host as clients in a namespace see it. */
export interface Effect {
  readonly target: ExplanationTarget;
  readonly title: string;
  readonly lines: readonly MarkedLine[];
}

export interface Effects {
  readonly effects: readonly Effect[];
  /** The number of namespaces and hosts that were too many to be explained. */
  readonly unexplained: number;
}
