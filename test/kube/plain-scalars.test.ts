import assert from "node:assert/strict";
import { test } from "node:test";
import { resolvePlain, resolveTagged } from "../../src/kube/plain-scalars.ts";

/** What `YAMLToJSON` of sigs.k8s.io/yaml 1.6.0 makes of them. */
const plain: readonly (readonly [string, unknown])[] = [
  ["yes", true],
  ["on", true],
  ["y", true],
  ["Y", true],
  ["True", true],
  ["no", false],
  ["n", false],
  ["OFF", false],
  ["tRue", "tRue"],
  ["FaLSE", "FaLSE"],
  ["", null],
  ["~", null],
  ["Null", null],
  ["nULL", "nULL"],
  ["0777", 511],
  ["-0777", -511],
  ["0_7", 7],
  ["08", 8],
  ["0o17", 15],
  ["0o8", "0o8"],
  ["0b11", 3],
  ["0B1", 1],
  ["0x1F", 31],
  ["-0x1f", -31],
  ["0x", "0x"],
  ["0xffffffffffffffff", 2 ** 64],
  ["0xfffffffffffffffff", "0xfffffffffffffffff"],
  ["18446744073709551616", 2 ** 64],
  ["1_000", 1000],
  ["1_000.5", 1000.5],
  [".5_0", 0.5],
  [".1_2e1_0", 1_200_000_000],
  [".5__0", ".5__0"],
  ["._5", "._5"],
  [".5_", ".5_"],
  ["_1", "_1"],
  ["+5", 5],
  [".5", 0.5],
  ["._5", "._5"],
  ["1.", 1],
  ["1e3", 1000],
  ["1.e3", 1000],
  ["1e400", "1e400"],
  ["1:30", "1:30"],
  ["190:20:30", "190:20:30"],
  ["2001-01-01", "2001-01-01"],
  ["1.5.2", "1.5.2"],
  ["-", "-"],
  ["=", "="],
  ["Infinity", "Infinity"],
  [".inf", Number.POSITIVE_INFINITY],
  ["-.Inf", Number.NEGATIVE_INFINITY],
  [".nan", Number.NaN],
];

test("a plain scalar has the value that kubectl reads", () => {
  for (const [text, value] of plain) assert.deepEqual([text, resolvePlain(text)], [text, value]);
});

test("an explicit tag decides, or is contradicted", () => {
  const rows: readonly (readonly [string, string, unknown])[] = [
    ["str", "yes", "yes"],
    ["int", "5", 5],
    ["int", "1_0", 10],
    ["int", "yes", undefined],
    ["int", "5.0", undefined],
    ["float", "3", 3],
    ["float", "x", undefined],
    ["bool", "on", true],
    ["bool", "1", undefined],
    ["null", "", null],
    ["null", "x", undefined],
    ["binary", "aGVs\nbG8=\n", "hello"],
    ["binary", "h i", undefined],
    ["timestamp", "2001-01-01", "2001-01-01"],
  ];
  for (const [tag, text, value] of rows) {
    assert.deepEqual([tag, text, resolveTagged(`tag:yaml.org,2002:${tag}`, text)], [tag, text, value]);
  }
  assert.equal(resolveTagged("!custom", "5"), "5");
});
