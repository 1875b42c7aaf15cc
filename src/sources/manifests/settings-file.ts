import type { ValidateFunction } from "ajv";
import type { Path } from "../../kube/read.ts";
import { schemaProblems } from "../../policy/schema-problems.ts";
import { readDocuments } from "./documents.ts";
import type { SourceError } from "./source-error.ts";
import { readFileText } from "./source-text.ts";

/** A YAML or JSON file with one document that is no Kubernetes object. */
export interface SettingsFile {
  /** Undefined if the file cannot be read. It matches the schema, but for what the errors name. */
  readonly value: unknown;
  /** One for each mistake, with its line, and its path in `value`; the path is empty if the file cannot be read. */
  readonly errors: readonly (SourceError & { readonly at: Path })[];
  /** An error at the place of a path. */
  errorAt(path: Path, message: string): SourceError;
}

/** Reads a file and compares it with a schema (of an Ajv with `allErrors` and `verbose`). Never throws. */
export async function readSettingsFile(file: string, validate: ValidateFunction): Promise<SettingsFile> {
  const broken = (errors: readonly SourceError[]): SettingsFile => ({
    ...{ value: undefined, errors: errors.map((error) => ({ ...error, at: [] })) },
    errorAt: (_path, message) => ({ file, message }),
  });
  const reading = await readFileText(file);
  if ("problem" in reading) return broken([{ file, message: reading.problem }]);
  const { documents, positionOf } = readDocuments(reading.text);
  const [document, second] = documents;
  if (document === undefined) return broken([{ file, message: "the file is empty; add settings, or remove it" }]);
  if (second !== undefined)
    return broken([{ file, ...positionOf(second.offset), message: "has a second document; keep one" }]);
  if (document.problems.length > 0)
    return broken(document.problems.map(({ offset, message }) => ({ file, ...positionOf(offset), message })));
  const errorAt = (path: Path, message: string): SourceError => ({
    ...{ file, message },
    ...positionOf(document.offsetOf(path)),
  });
  const problems = validate(document.value) ? [] : schemaProblems(validate.errors ?? []);
  const errors = problems.map(({ at, message }) => ({ ...errorAt(at, message), at }));
  return { value: document.value, errors, errorAt };
}
