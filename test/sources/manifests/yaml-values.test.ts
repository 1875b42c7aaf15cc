import assert from "node:assert/strict";
import { test } from "node:test";
import { LineNumbers } from "../../../src/sources/manifests/line-numbers.ts";
import { readYamlDocuments } from "../../../src/sources/manifests/yaml-documents.ts";

function read(text: string): unknown {
  const reading = readYamlDocuments(text, () => new LineNumbers(text));
  let step = reading.next();
  while (step.done !== true) step = reading.next();
  const [document] = step.value;
  assert.deepEqual(document?.problems, []);
  return document?.value;
}

/** What `YAMLToJSON` of sigs.k8s.io/yaml 1.6.0 makes of them. */
const colons: readonly (readonly [string, unknown])[] = [
  ["[1.2.3.4, 2001:db8::]", ["1.2.3.4", "2001:db8::"]],
  ["[a::, b]", ["a::", "b"]],
  ["[x: ]", [{ x: null }]],
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
