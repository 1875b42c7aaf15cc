import assert from "node:assert/strict";
import { test } from "node:test";
import { IgnorePatterns } from "../../../src/sources/manifests/ignore-patterns.ts";

function said(text: string, path: string): boolean | undefined {
  return new IgnorePatterns(text).ignores(path.replace(/\/$/, ""), path.endsWith("/"));
}

/** Patterns, path (a folder when it ends with a slash), whether git would ignore it. */
const rows: readonly (readonly [string, string, boolean | undefined])[] = [
  ["a.yaml", "a.yaml", true],
  ["a.yaml", "x/y/a.yaml", true],
  ["a.yaml", "ba.yaml", undefined],
  ["a.yaml", "axyaml", undefined],
  ["/a.yaml", "a.yaml", true],
  ["/a.yaml", "x/a.yaml", undefined],
  ["x/a.yaml", "x/a.yaml", true],
  ["x/a.yaml", "y/x/a.yaml", undefined],
  ["vendor/", "vendor/", true],
  ["vendor/", "x/vendor/", true],
  ["vendor/", "vendor", undefined],
  ["*.tmp.yaml", "x/a.tmp.yaml", true],
  ["x/*.yaml", "x/y/a.yaml", undefined],
  ["x/**/a.yaml", "x/a.yaml", true],
  ["x/**/a.yaml", "x/y/z/a.yaml", true],
  ["**/y", "y/", true],
  ["**/y", "x/y", true],
  ["x/**", "x/y/z", true],
  ["x/**", "x/", undefined],
  ["?.yaml", "a.yaml", true],
  ["?.yaml", "ab.yaml", undefined],
  ["[ab].yaml", "b.yaml", true],
  ["[!ab].yaml", "b.yaml", undefined],
  ["[!ab].yaml", "c.yaml", true],
  ["[z-a].yaml", "b.yaml", undefined],
  ["a+(b).yaml", "a+(b).yaml", true],
  ["# a.yaml", "a.yaml", undefined],
  ["\\#a", "#a", true],
  ["\\!a", "!a", true],
  ["a.yaml   ", "a.yaml", true],
  ["a\\ ", "a ", true],
  ["*.yaml\n!keep.yaml", "keep.yaml", false],
  ["!keep.yaml\n*.yaml", "keep.yaml", true],
  ["*.yaml\r\n!keep.yaml\r\n", "x/keep.yaml", false],
  ["\n\n/\n!\n", "a", undefined],
];

test("patterns read as those of .gitignore", () => {
  for (const [text, path, expected] of rows) assert.deepEqual([text, path, said(text, path)], [text, path, expected]);
});
