import assert from "node:assert/strict";
import { test } from "node:test";
import { readDocuments } from "../../../src/sources/manifests/documents.ts";

function valuesOf(text: string): unknown[] {
  const { documents } = readDocuments(text);
  assert.deepEqual(
    documents.flatMap((document) => document.problems),
    [],
  );
  return documents.map((document) => document.value);
}

/** `line:column message` of everything that is wrong. */
function problemsOf(text: string): string[] {
  const { documents, positionOf } = readDocuments(text);
  return documents.flatMap((document) =>
    document.problems.map((problem) => {
      const { line, column } = positionOf(problem.offset);
      return `${line}:${column} ${problem.message}`;
    }),
  );
}

function lineOf(text: string, ...path: (string | number)[]): number {
  const { documents, positionOf } = readDocuments(text);
  const [document] = documents;
  assert.ok(document);
  assert.deepEqual(document.problems, []);
  return positionOf(document.offsetOf(path)).line;
}

test("documents are split at ---, and empty ones left out", () => {
  const text = "# nothing\n---\na: 1\n--- # comment\n\n---\nnull\n---   \nb: |\n  ---\n  x\n---";
  assert.deepEqual(valuesOf(text), [{ a: 1 }, { b: "---\nx\n" }]);
  assert.deepEqual(valuesOf(""), []);
  assert.deepEqual(valuesOf("---\r\na: 1\r\n---\r\nb: 2\r\n"), [{ a: 1 }, { b: 2 }]);
  assert.deepEqual(valuesOf("%YAML 1.1\n---\na: 1\n"), [{ a: 1 }]);
});

test("a quoted value may continue at any indentation, as in kubectl", () => {
  const continued = "a:\n  note: 'one\n  two'\n  b: 1\nc: [\"p\n q\", 'r\ns']\nd: \"x\n- y: 1\"\n";
  assert.deepEqual(valuesOf(continued), [{ a: { note: "one two", b: 1 }, c: ["p q", "r s"], d: "x - y: 1" }]);
  assert.equal(lineOf(continued, "d"), 8);
  assert.match(problemsOf("a: 'one\n---\nb: 1\n")[0] ?? "", /Missing closing 'quote/);
});

test("what is wrong with one document leaves the others alone", () => {
  const text = "a: 1\n---\nb: [1, 2\n---\nc: 3\n---\nd: 1\nd: 2\n---\ne: 5\n";
  const { documents } = readDocuments(text);
  assert.deepEqual(
    documents.map((document) => document.value),
    [{ a: 1 }, undefined, { c: 3 }, undefined, { e: 5 }],
  );
  const [syntax, duplicate] = problemsOf(text);
  assert.match(syntax ?? "", /^\d+:\d+ not valid YAML: /);
  assert.match(duplicate ?? "", /^8:1 duplicate key "d" \(first in line 7\)/);
});

test("merge keys apply where they stand, as in kubectl", () => {
  const anchor = "a: &a {x: 1, z: 1}\n";
  const merged = (text: string) => (valuesOf(anchor + text)[0] as { b: unknown }).b;
  assert.deepEqual(merged("b:\n  <<: *a\n  z: 2\n"), { x: 1, z: 2 });
  assert.deepEqual(merged("b:\n  z: 2\n  <<: *a\n"), { x: 1, z: 1 });
  assert.deepEqual(merged("b:\n  <<: [{z: 3}, *a]\n"), { x: 1, z: 3 });
  assert.deepEqual(merged("b:\n  '<<': *a\n"), { "<<": { x: 1, z: 1 } });
  assert.match(problemsOf("b:\n  <<: 5\n")[0] ?? "", /^2:7 a merge key << needs a map/);
});

test("an alias means the latest anchor of its name, also after an older one was expanded", () => {
  assert.deepEqual(valuesOf("x: &x {p: &p 1}\nq: &p 2\nr: *x\ns: *p\n"), [{ x: { p: 1 }, q: 2, r: { p: 1 }, s: 2 }]);
  assert.match(problemsOf("a: 1\nb: *b\n")[0] ?? "", /^2:4 the alias \*b refers to no anchor/);
  assert.match(problemsOf("a: &a\n  - *a\n")[0] ?? "", /^2:5 the anchor &a contains itself/);
});

test("keys become text; what cannot be one is named", () => {
  assert.deepEqual(valuesOf("1: a\n2.5: b\nyes: c\n010: d\n"), [{ "1": "a", "2.5": "b", true: "c", "8": "d" }]);
  assert.match(problemsOf("a:\n  {{ .Values.x }}: 1\n")[0] ?? "", /^2:\d+ .*template/);
  assert.match(problemsOf("~: 1\n")[0] ?? "", /^1:1 a key is empty or null/);
  assert.match(problemsOf("yes: 1\non: 2\n")[0] ?? "", /^2:1 duplicate key "true" \(first in line 1\)/);
});

test("what kubectl would refuse or leave out is an error", () => {
  const rows: readonly (readonly [string, RegExp])[] = [
    ["a:\n\tb: 1\n", /^2:1 not valid YAML: .*tabs/],
    ["a: [b\nc: d\n", /^2:1 not valid YAML: .*; close the bracket that is open there$/],
    ['a: "x\n', /^\d:\d not valid YAML: .*quote/],
    ["a:\n  b: 1\n c: 2\n", /^3:\d not valid YAML/],
    ["a: x\u0001\n", /^1:5 YAML does not allow the character U\+0001/],
    ["a: .nan\n", /^1:4 ".nan" is a number that Kubernetes cannot store/],
    ["a: !!int x\n", /^1:10 "x" is not a valid !!int/],
    ["a: 1\n...\nb: 2\n", /^3:1 kubectl ignores text after "..."/],
    ["a: 1\n--- {b: 1}\n", /^2:1 kubectl ignores text after ---/],
    ['{"a": 1,}\n{"b": 1}', /^1:9 not valid JSON: expected a key in double quotes, found "}"/],
    ['{"a": "x\u0001"}\n', /^1:7 not valid JSON: a string contains a line break/],
    ['{"a": 1e400}', /^1:7 "1e400" is a number/],
    ['{"a": tru}\n{"b": {}}', /^1:7 not valid JSON: expected a value, found "t"/],
    ['{"a": 1', /^1:8 not valid JSON: expected a comma or }, found the end of the file/],
    ['{"a": 1,\n "a": 2}', /^2:2 duplicate key "a" \(first in line 1\)/],
  ];
  for (const [text, expected] of rows) {
    const [first = "no problem"] = problemsOf(text);
    assert.match(first, expected, JSON.stringify(text));
    assert.doesNotMatch(first, /\n/);
  }
});

test("JSON streams, JSON between dashes and flow YAML are read", () => {
  assert.deepEqual(valuesOf('{"a":1}\n{"b":[true,null,-0.5e1,"\\u00e9"]}'), [{ a: 1 }, { b: [true, null, -5, "é"] }]);
  assert.deepEqual(valuesOf('{\n\t"a": 1\n}\n---\n{\n\t"b": 2\n}\n'), [{ a: 1 }, { b: 2 }]);
  assert.deepEqual(valuesOf("{a: yes, b: [1, 2]}"), [{ a: true, b: [1, 2] }]);
});

// The bound is far beyond what they take (the bench has the figures): it catches what would never end.
test("hostile documents end in an error", { timeout: 60_000 }, () => {
  const many = 100_000;
  const letters = "b c d e f g h i j k l m".split(" ");
  const bomb = letters.map((letter, index) => {
    const alias = `*${letters[index - 1] ?? "a"},`;
    return `${letter}: &${letter} [${alias.repeat(9)}]`;
  });
  const merges = Array.from(
    { length: 40 },
    (_, index) => `m${index + 1}: &m${index + 1}\n  <<: [*m${index}, *m${index}]`,
  );
  const texts = {
    nestedLists: "[".repeat(many),
    nestedMaps: "{a: ".repeat(many),
    closed: `a: ${"[".repeat(many)}${"]".repeat(many)}`,
    dashes: `${"- ".repeat(many)}a`,
    questions: `${"? ".repeat(many)}a`,
    json: `${'{"a":'.repeat(many)}1${"}".repeat(many)}`,
    laughs: ["a: &a [x,x,x,x,x,x,x,x,x]", ...bomb].join("\n"),
    longString: `a: &a ${"x".repeat(1_000_000)}\nb: [${"*a,".repeat(1000)}]`,
    merges: ["m0: &m0 {x: 1}", ...merges].join("\n"),
    aliasChain: Array.from(
      { length: 2000 },
      (_, index) => `a${index}: &a${index} [${index ? `*a${index - 1}` : 1}]`,
    ).join("\n"),
  };
  for (const [name, text] of Object.entries(texts)) {
    const [problem] = problemsOf(text);
    assert.match(problem ?? "", /nested more than 500 levels|aliases of this file expand to more than/, name);
  }
});

test("a key __proto__ is data and reaches no prototype", () => {
  for (const text of [
    '{"__proto__": {"polluted": true}, "a": {"__proto__": 1}}',
    "__proto__: {polluted: true}\na: {__proto__: 1}\n",
  ]) {
    const [value] = valuesOf(text) as [Record<string, unknown>];
    assert.deepEqual(Object.keys(value), ["__proto__", "a"]);
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
    assert.equal(Reflect.get({}, "polluted"), undefined);
    assert.equal(lineOf(text, "__proto__", "polluted"), 1);
  }
});

test("a path has the line of its key or item, or of its nearest ancestor", () => {
  const text = [
    "apiVersion: v1",
    "spec:",
    "  http:",
    "  - name: a",
    "    route:",
    "    - destination: {host: x}",
    "      weight: 90",
    "    -",
    "      # the second",
    "      weight: 20",
    "  empty:",
  ].join("\n");
  for (const shown of [text, text.replaceAll("\n", "\r\n")]) {
    assert.equal(lineOf(shown, "spec", "http", 0), 4);
    assert.equal(lineOf(shown, "spec", "http", 0, "route"), 5);
    assert.equal(lineOf(shown, "spec", "http", 0, "route", 0, "weight"), 7);
    assert.equal(lineOf(shown, "spec", "http", 0, "route", 0, "destination", "host"), 6);
    assert.equal(lineOf(shown, "spec", "http", 0, "route", 1), 10);
    assert.equal(lineOf(shown, "spec", "http", 0, "route", 1, "weight"), 10);
    assert.equal(lineOf(shown, "spec", "http", 0, "timeout"), 4);
    assert.equal(lineOf(shown, "spec", "http", 7, "route"), 3);
    assert.equal(lineOf(shown, "spec", "empty", "x", "y"), 11);
    assert.equal(lineOf(shown), 1);
  }
});

test("what comes through an alias or a merge stands where the alias is used", () => {
  const text = [
    "base: &base", // 1
    "  weight: 90",
    "  nested: {deep: [1]}",
    "list:", // 4
    "- *base",
    "- own: 1",
    "  <<: *base", // 7
    "- <<:",
    "  - {inline: 1}",
    "  - *base", // 10
    "map: *base",
  ].join("\n");
  assert.equal(lineOf(text, "base", "weight"), 2);
  assert.equal(lineOf(text, "list", 0), 5);
  assert.equal(lineOf(text, "list", 0, "nested", "deep", 0), 5);
  assert.equal(lineOf(text, "list", 1, "own"), 6);
  assert.equal(lineOf(text, "list", 1, "weight"), 7);
  assert.equal(lineOf(text, "list", 1, "missing"), 6);
  assert.equal(lineOf(text, "list", 2, "inline"), 9);
  assert.equal(lineOf(text, "list", 2, "nested", "deep"), 10);
  assert.equal(lineOf(text, "map", "weight"), 11);
});

test("columns count from 1, whatever stands before", () => {
  const { documents, positionOf } = readDocuments('# é\n---\n{"a": 1, "b": [10, {"c": 2}]}\n');
  const [document] = documents;
  assert.ok(document);
  assert.deepEqual(positionOf(document.offsetOf([])), { line: 3, column: 1 });
  assert.deepEqual(positionOf(document.offsetOf(["b"])), { line: 3, column: 10 });
  assert.deepEqual(positionOf(document.offsetOf(["b", 1])), { line: 3, column: 20 });
  assert.deepEqual(positionOf(document.offsetOf(["b", 1, "c"])), { line: 3, column: 21 });
});
