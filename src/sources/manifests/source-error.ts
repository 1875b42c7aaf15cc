/** The reason why a file or a document cannot be checked. The message says what to do. */
export interface SourceError {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly message: string;
}
