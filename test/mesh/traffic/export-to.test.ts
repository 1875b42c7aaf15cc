import assert from "node:assert/strict";
import test from "node:test";
import { commonNamespaces, includesNamespace, visibleTo } from "../../../src/mesh/traffic/export-to.ts";

test("who sees what is exported from shop", () => {
  const table: [exportTo: string[], otherwise: string[], visible: string[]][] = [
    [[], ["*"], ["*"]],
    [[], ["."], ["shop"]],
    [["*"], ["."], ["*"]],
    [["."], ["*"], ["shop"]],
    [[".", "web"], ["*"], ["shop", "web"]],
    [["web"], ["*"], ["web"]],
    [["web", "*"], ["*"], ["*"]],
    [["~"], ["*"], []],
    [["~", "web"], ["*"], []],
  ];
  for (const [exportTo, otherwise, visible] of table)
    assert.deepEqual([...visibleTo(exportTo, "shop", otherwise)], visible, JSON.stringify([exportTo, otherwise]));
});

test("sets of namespaces, one of which may be all", () => {
  const all = new Set(["*"]);
  const some = new Set(["a", "b"]);
  assert.deepEqual(commonNamespaces(all, some), some);
  assert.deepEqual(commonNamespaces(some, all), some);
  assert.deepEqual(commonNamespaces(some, new Set(["b", "c"])), new Set(["b"]));
  assert.ok(includesNamespace(all, "x") && includesNamespace(some, "a") && !includesNamespace(some, "x"));
});
