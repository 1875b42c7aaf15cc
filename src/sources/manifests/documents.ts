import { readJsonDocuments } from "./json-documents.ts";
import { LineNumbers } from "./line-numbers.ts";
import type { SourceDocument } from "./source-document.ts";
import { readYamlDocuments } from "./yaml-documents.ts";

export interface Documents {
  readonly documents: readonly SourceDocument[];
  /** Returns the line and column of an offset, both from 1. */
  readonly positionOf: (offset: number) => { line: number; column: number };
}

/**
 * Reads the documents of a text. Text that starts with `{` is read as JSON first, as `YAMLOrJSONDecoder` of
 * k8s.io/apimachinery does, regardless of the file's name. Of YAML, only documents whose text `isWanted` accepts are parsed.
 */
export function readDocuments(text: string, isWanted: (text: string) => boolean = () => true): Documents {
  let numbers: LineNumbers | undefined;
  const lines = () => {
    numbers ??= new LineNumbers(text);
    return numbers;
  };
  return { documents: documentsOf(text, lines, isWanted), positionOf: (offset) => lines().at(offset) };
}

function documentsOf(
  text: string,
  lines: () => LineNumbers,
  isWanted: (text: string) => boolean,
): readonly SourceDocument[] {
  if (!/^\s*\{/.test(text)) return readYamlDocuments(text, lines, isWanted);
  const { documents, syntax } = readJsonDocuments(text, lines);
  if (syntax === undefined) return documents;
  const broken = { offset: syntax.offset, value: undefined, problems: [syntax], offsetOf: () => syntax.offset };
  const json = [...documents, broken];
  if (documents.length > 1) return json;
  const yaml = readYamlDocuments(text, lines, isWanted);
  const looksLikeJson = /^\s*\{\s*["}]/.test(text);
  return looksLikeJson && yaml.some((document) => document.problems.length > 0) ? json : yaml;
}
