/** Something that keeps a file or a document from being judged, with what to do about it. */
export interface SourceError {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly message: string;
}
