import type { MeshPicture } from "./mesh-picture.ts";
import type { ManifestLine } from "./page-data.ts";
import type { Page } from "./page.ts";

/** What a report is written for. */
export interface Destination {
  /** What the text is read on. Formats for programs ignore it. */
  readonly page: Page;
  /**
   * The path of a file from the root of its repository, with `/`, as CI systems expect it. A file outside of the repository
   * keeps its absolute path.
   */
  repositoryPath(file: string): string;
  /** A picture of the whole mesh, for formats that show one; undefined: there is no mesh. */
  picture?(): MeshPicture;
  /** The lines of a manifest around one of them; undefined: they cannot be read. */
  lines?(file: string, line: number): readonly ManifestLine[] | undefined;
}

/** Writes a report in one format, with a final newline. */
export type Format<R> = (report: R, to: Destination) => string;

/** One JSON document, indented by two spaces. */
export const jsonReport = (report: object): string => `${JSON.stringify(report, null, 2)}\n`;

/** Formats by the names that `--format` and `--output` accept. */
export type Formats<R> = Readonly<Record<string, Format<R>>>;
