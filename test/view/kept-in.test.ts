import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KeptIn } from "../../src/view/kept-in.ts";

describe("what is kept in an object", () => {
  it("is found there, apart from what others keep in it", () => {
    const [sizes, names] = [new KeptIn<object, number>(), new KeptIn<object, string>()];
    const list = ["a"];
    assert.equal(sizes.get(list), undefined);
    sizes.set(list, 1);
    names.set(list, "first");
    sizes.set(list, 2);
    assert.deepEqual([sizes.get(list), names.get(list)], [2, "first"]);
  });

  it("is not in copies, texts and comparisons", () => {
    const sizes = new KeptIn<object, number>();
    const object = { name: "a" };
    sizes.set(object, 1);
    assert.equal(sizes.get({ ...object }), undefined);
    assert.equal(sizes.get(structuredClone(object)), undefined);
    assert.equal(JSON.stringify(object), '{"name":"a"}');
    assert.deepEqual(object, { name: "a" });
  });

  it("is nothing in a frozen object", () => {
    const sizes = new KeptIn<object, number>();
    const none = Object.freeze([]);
    sizes.set(none, 1);
    assert.equal(sizes.get(none), undefined);
  });
});
