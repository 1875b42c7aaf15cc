import { readDocuments } from "./documents.ts";
import { findManifestFiles } from "./manifest-files.ts";
import type { SourceError } from "./source-error.ts";
import { readFileText } from "./source-text.ts";

/** A CustomResourceDefinition as a file contains it. */
export interface DefinitionManifest {
  readonly raw: Record<string, unknown>;
  readonly file: string;
  readonly line: number;
}

/** Reads the CustomResourceDefinitions in a file or a folder; other objects in it are left out. Never throws. */
export async function readDefinitions(
  path: string,
): Promise<{ readonly definitions: readonly DefinitionManifest[]; readonly errors: readonly SourceError[] }> {
  const { files, errors: unfound } = await findManifestFiles([path]);
  const definitions: DefinitionManifest[] = [];
  const errors = [...unfound];
  for (const file of files) {
    const reading = await readFileText(file.path);
    if ("problem" in reading) errors.push({ file: file.path, message: reading.problem });
    else addDefinitions(file.path, reading.text, { definitions, errors });
  }
  return { definitions, errors };
}

function addDefinitions(
  file: string,
  text: string,
  into: { readonly definitions: DefinitionManifest[]; readonly errors: SourceError[] },
): void {
  const { documents, positionOf } = readDocuments(text, { isWanted: (part) => part.includes(word) });
  for (const { value, problems, offset } of documents) {
    for (const problem of problems) into.errors.push({ file, ...positionOf(problem.offset), message: problem.message });
    for (const raw of objectsIn(value)) into.definitions.push({ raw, file, line: positionOf(offset).line });
  }
}

const word = "CustomResourceDefinition";

/** The definition, or those of a list. */
function objectsIn(value: unknown): readonly Record<string, unknown>[] {
  if (typeof value !== "object" || value === null) return [];
  const object = value as Record<string, unknown>;
  if (object["kind"] === word) return [object];
  return Array.isArray(object["items"]) ? object["items"].flatMap(objectsIn) : [];
}
