import assert from "node:assert/strict";
import { test } from "node:test";
import { PathMap } from "../../src/view/path-map.ts";

const [a, b] = [{}, {}];

test("a list of keys has one value, which depends on their order and number", () => {
  const map = new PathMap<object, string>();
  map.value = "none";
  map.next(a).value = "a";
  map.next(a).next(b).value = "a, b";
  map.next(b).next(a).value = "b, a";
  const found = [map, map.next(a), map.next(a).next(b), map.next(b).next(a), map.next(b)].map(({ value }) => value);
  assert.deepEqual(found, ["none", "a", "a, b", "b, a", undefined]);
});

test("keys are compared by identity", () => {
  const map = new PathMap<object, string>();
  map.next(a).value = "a";
  assert.equal(map.next({ ...a }).value, undefined);
});
