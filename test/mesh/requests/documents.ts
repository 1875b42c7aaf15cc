import { parseDocument } from "yaml";

const parsed = new Map<string, unknown>();

/**
 * The documents of a text, without the empty ones. A law makes hundreds of worlds of the same few documents, and parsing them took
 * a quarter of its time: each is parsed once, and nobody changes what it contains.
 */
export const documentsOf = (text: string): readonly unknown[] =>
  text
    .split(/^---$/m)
    .map(documentOf)
    .filter((raw) => raw !== null);

function documentOf(text: string): unknown {
  if (!parsed.has(text)) {
    const document = parseDocument(text);
    const [error] = document.errors;
    if (error !== undefined) throw error;
    parsed.set(text, document.toJS());
  }
  return parsed.get(text);
}
