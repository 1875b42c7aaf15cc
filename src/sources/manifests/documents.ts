import { readJsonDocuments } from "./json-documents.ts";
import { LineNumbers } from "./line-numbers.ts";
import type { SourceDocument } from "./source-document.ts";
import { readYamlDocuments, type YamlOptions } from "./yaml-documents.ts";

export interface Documents {
  readonly documents: readonly SourceDocument[];
  /** Returns the line and column of an offset, both from 1. */
  readonly positionOf: (offset: number) => { line: number; column: number };
}

/** Reads the documents of a text in one step: see {@link documentsIn}. */
export function readDocuments(text: string, options: YamlOptions = {}): Documents {
  const steps = documentsIn(text, options);
  for (let step = steps.next(); ; step = steps.next()) if (step.done) return step.value;
}

/**
 * Reads the documents of a text. Text that starts with `{` is read as JSON first, as `YAMLOrJSONDecoder` of
 * k8s.io/apimachinery does, regardless of the file's name. Yields after each document of YAML.
 */
export function* documentsIn(text: string, options: YamlOptions = {}): Generator<void, Documents> {
  let numbers: LineNumbers | undefined;
  const lines = () => {
    numbers ??= new LineNumbers(text);
    return numbers;
  };
  return { documents: yield* documentsOf(text, lines, options), positionOf: (offset) => lines().at(offset) };
}

function* documentsOf(
  text: string,
  lines: () => LineNumbers,
  options: YamlOptions,
): Generator<void, readonly SourceDocument[]> {
  if (!/^\s*\{/.test(text)) return yield* readYamlDocuments(text, lines, options);
  const { documents, syntax } = readJsonDocuments(text, lines);
  if (syntax === undefined) return documents;
  const broken = { offset: syntax.offset, value: undefined, problems: [syntax], offsetOf: () => syntax.offset };
  const json = [...documents, broken];
  if (documents.length > 1) return json;
  const yaml = yield* readYamlDocuments(text, lines, options);
  const looksLikeJson = /^\s*\{\s*["}]/.test(text);
  return looksLikeJson && yaml.some((document) => document.problems.length > 0) ? json : yaml;
}
