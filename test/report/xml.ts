import assert from "node:assert/strict";

export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** The text directly in the element. */
  text: string;
}

const token =
  /<\?xml [^?]*\?>|<(?<open>[a-z-]+)(?<attributes>(?:\s+[a-z]+="[^"<]*")*)\s*(?<empty>\/)?>|<\/(?<close>[a-z-]+)>|(?<text>[^<]+)/gy;
const references: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'", "#10": "\n" };

/**
 * The elements of a document in the subset of XML that reports use, in document order. Fails unless the document is well formed:
 * elements nest, each `&` is a reference, each character is one that XML 1.0 allows.
 */
export function elementsOf(document: string): readonly Element[] {
  assert.doesNotMatch(document, /[^\t\n\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u);
  const all: Element[] = [];
  const within: Element[] = [];
  let end = 0;
  for (const { 0: whole, index, groups = {} } of document.matchAll(token)) {
    assert.equal(index, end, `not XML: ${document.slice(end, end + 80)}`);
    end = index + whole.length;
    const { open, attributes = "", empty, close, text } = groups;
    if (open !== undefined) {
      const element = { name: open, attributes: attributesIn(attributes), text: "" };
      all.push(element);
      if (empty === undefined) within.push(element);
    } else if (close !== undefined) assert.equal(within.pop()?.name, close);
    else if (text !== undefined && within.length > 0) (within.at(-1) as Element).text += plain(text);
  }
  assert.equal(end, document.length, `not XML: ${document.slice(end, end + 80)}`);
  assert.equal(within.length, 0);
  return all;
}

const attributesIn = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/([a-z]+)="([^"]*)"/g)].map(([, name = "", value = ""]) => [name, plain(value)]),
  );

const plain = (text: string): string =>
  text.replace(/&([^;&]*;)?/g, (all, name?: string) => {
    const character = references[(name ?? "").slice(0, -1)];
    assert.ok(character !== undefined, `no reference: ${all}`);
    return character;
  });
