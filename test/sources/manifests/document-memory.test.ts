import assert from "node:assert/strict";
import { test } from "node:test";
import { DocumentMemory } from "../../../src/sources/manifests/document-memory.ts";
import { readDocuments } from "../../../src/sources/manifests/documents.ts";

const memory = new DocumentMemory();
/** The values of a file that is read once more. */
function readAgain(text: string): readonly unknown[] {
  memory.begin();
  return readDocuments(text, { memory }).documents.map(({ value }) => value);
}

test("documents that a file still contains keep their values, wherever they are in it", () => {
  const [a, b] = readAgain("name: a\n---\nname: b\n");
  const [first, c, second] = readAgain("name: b\n---\nname: c\n---\nname: a\n");
  assert.equal(first, b);
  assert.deepEqual(c, { name: "c" });
  // The line break at the end belongs to a document.
  assert.deepEqual([second, second === a], [{ name: "a" }, true]);
});

test("a place is that of the text that was read last", () => {
  readAgain("name: a\n");
  memory.begin();
  const { documents, positionOf } = readDocuments("# more\n---\nname: a\n", { memory });
  assert.deepEqual(positionOf(documents[0]?.offsetOf(["name"]) ?? -1), { line: 3, column: 1 });
});

test("what one reading does not contain is forgotten", () => {
  const [before] = readAgain("name: a\n");
  readAgain("name: b\n");
  const [after] = readAgain("name: a\n");
  assert.deepEqual(after, before);
  assert.notEqual(after, before);
});

test("mistakes and aliases are read each time", () => {
  for (const text of ["name: a\nname: b\n", "a: [\n"]) {
    readAgain(text);
    memory.begin();
    const { documents } = readDocuments(text, { memory });
    assert.equal(documents[0]?.problems.length, 1, text);
  }
  const aliases = "a: &a { b: 1 }\nc: *a\n";
  const [before] = readAgain(aliases);
  const [after] = readAgain(aliases);
  assert.deepEqual(after, { a: { b: 1 }, c: { b: 1 } });
  assert.notEqual(after, before);
});
