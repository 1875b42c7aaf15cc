/** What an explanation is about. */
export interface ExplanationTarget {
  /** `Namespace`, `Host`, `Gateway`, or the kind of a workload. */
  readonly kind: string;
  /** Absent for a cluster-scoped object. */
  readonly namespace?: string;
  /** The name of the object, or the host. */
  readonly name: string;
  /** For a host: the namespace of the clients. */
  readonly from?: string;
}

/** A line of an explanation that a change removes (`-`) or adds (`+`), or that contains such lines (` `). */
export interface MarkedLine {
  /** Whether the change removes or adds the line. */
  readonly mark: "-" | "+" | " ";
  /** Stable; the text may change. */
  readonly key: string;
  /** Distinguishes several lines of the same key and parent; null: there is one. */
  readonly of: string | null;
  /** The line for people. */
  readonly text: string;
  /** The lines below it. */
  readonly lines: readonly MarkedLine[];
}

/** What a change does to one namespace, or to one host as clients in a namespace see it. */
export interface Effect {
  /** The namespace or host. */
  readonly target: ExplanationTarget;
  /** The same in words. */
  readonly title: string;
  /** The lines of its explanation that differ, below their parents. */
  readonly lines: readonly MarkedLine[];
}

/** What a change does to the mesh, in the words of `explain`. */
export interface Effects {
  /** One for each namespace and host with a difference. */
  readonly effects: readonly Effect[];
  /** The number of namespaces and hosts that were too many to be explained. */
  readonly unexplained: number;
}
