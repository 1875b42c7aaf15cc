/** One line of /readyz; the process is ready when no check has a problem. */
export interface ReadinessCheck {
  readonly name: string;
  /** What is wrong, or undefined. Asked at every probe: quick and without side effects. */
  problem(): string | undefined;
  /** What is worth knowing although nothing is wrong; shown by `?verbose`. */
  note?(): string | undefined;
}
