import assert from "node:assert/strict";
import { test } from "node:test";
import { LineNumbers } from "../../../src/sources/manifests/line-numbers.ts";
import { readYamlDocuments } from "../../../src/sources/manifests/yaml-documents.ts";

function read(text: string): unknown {
  const document = documentOf(text);
  assert.deepEqual(document?.problems, []);
  return document?.value;
}

function documentOf(text: string) {
  const reading = readYamlDocuments(text, () => new LineNumbers(text));
  let step = reading.next();
  while (step.done !== true) step = reading.next();
  return step.value[0];
}

/** What `YAMLToJSON` of sigs.k8s.io/yaml 1.6.0 makes of them. */
const colons: readonly (readonly [string, unknown])[] = [
  ["[1.2.3.4, 2001:db8::]", ["1.2.3.4", "2001:db8::"]],
  ["[a::, b]", ["a::", "b"]],
  ["[x: ]", [{ x: null }]],
  ["[x:\n ]", [{ x: null }]],
  ["[x: z]", [{ x: "z" }]],
  ["['x':]", [{ x: null }]],
  ["[{x: }]", [{ x: null }]],
  ["[{x:}]", [{ "x:": null }]],
  ["{x:, z: 1}", { "x:": null, z: 1 }],
  ["{addresses: [fd00::], x: [{z: b}]}", { addresses: ["fd00::"], x: [{ z: "b" }] }],
];
for (const [text, expected] of colons)
  test(`colons between brackets are those of kubectl: ${text}`, () => {
    assert.deepEqual(read(`spec: ${text}`), { spec: expected });
  });

// What `YAMLToJSON` of sigs.k8s.io/yaml 1.6.0 refuses, or reads as a key with nothing.
const marks = ["[a?]", "[https://a.example/?b=c]", "{a: b?c}", "[?a]", "[:8080]", "[::1]", "{a: ::1}", "[:]", "{:}"];
for (const text of marks)
  test(`question marks and colons between brackets are marks of keys, as for kubectl: ${text}`, () => {
    assert.match(documentOf(`spec: ${text}`)?.problems[0]?.message ?? "", /as the mark of a key|^a key is empty/);
  });

for (const [text, expected] of [
  ["[]#none", []],
  ["{b: 1}# none", { b: 1 }],
  ['"x"#c', "x"],
  ["|#c\n  x\n", "x\n"],
  ["x#c", "x#c"],
] as const)
  test(`a comment needs no space before it where no plain text ends, as for kubectl: ${text}`, () => {
    assert.deepEqual(read(`spec: ${text}`), { spec: expected });
  });

test("question marks and colons mean nothing elsewhere", () => {
  const values = { a: "b?", b: "?c", c: "::1", d: ":80" };
  assert.deepEqual(read('a: b?\nb: ?c\nc: ::1\nd: ":80"\n'), values);
  assert.deepEqual(read('{a: "b?", b: "?c", c: "::1", d: \':80\'}\n'), values);
});

test("escapes between double quotes are those of kubectl", () => {
  assert.deepEqual(read(String.raw`a: "it\'s \\' \\/ \u00e9"`), { a: String.raw`it's \' \/ é` });
  const [slash, half] = [String.raw`a: "x\/y"`, String.raw`a: ["\ud83d\ude00"]`].map((text) => documentOf(text));
  assert.deepEqual(slash?.problems, [
    { offset: 5, message: String.raw`kubectl knows no escape \/ between quotes: write the slash alone` },
  ]);
  assert.match(half?.problems[0]?.message ?? "", /no half of a character such as \\ud83d/);
});
