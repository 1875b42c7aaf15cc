/** One line of /readyz; the process is ready when no check has a problem. */
export interface ReadinessCheck {
  readonly name: string;
  /**
   * The problem that makes the process not ready, or undefined. Called at every probe: fast and without side effects.
   */
  problem(): string | undefined;
  /** Additional information while the check is ok, shown by `?verbose`. */
  note?(): string | undefined;
}
