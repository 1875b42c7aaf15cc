import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Labelled } from "../../../src/mesh/objects/labelled.ts";
import { SelectorGroups, selectorText } from "../../../src/mesh/objects/selector-groups.ts";
import { selects } from "../../../src/mesh/objects/selectors.ts";

type Labels = Readonly<Record<string, string>>;

const someLabels: fc.Arbitrary<Labels> = fc.dictionary(
  fc.constantFrom("app", "tier", "version", "constructor", "__proto__"),
  fc.constantFrom("a", "b", ""),
  { noNullPrototype: true },
);

describe("selector groups", () => {
  test("they select what each of their selectors selects, each member once", () => {
    fc.assert(
      fc.property(fc.array(someLabels), fc.array(someLabels), (selectors, workloads) => {
        const groups = new SelectorGroups(selectors.map((selector, i) => [selector, i] as const));
        for (const labels of workloads) {
          const found = groups.selecting(labels).flatMap(({ members }) => members);
          const expected = selectors.flatMap((selector, i) => (selects(selector, labels) ? [i] : []));
          assert.deepEqual(
            found.toSorted((a, b) => a - b),
            expected,
          );
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("labels that the same labels of selectors are among get the same list", () => {
    const groups = new SelectorGroups([
      [{ app: "a" }, 1],
      [{ app: "a", tier: "b" }, 2],
    ]);
    assert.equal(groups.selecting({ app: "a", x: "1" }), groups.selecting({ x: "2", app: "a" }));
    assert.notEqual(groups.selecting({ app: "a" }), groups.selecting({ app: "a", tier: "b" }));
  });

  test("more labels than are compared select the same", () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`label-${i}`, "x"]));
    const groups = new SelectorGroups([
      [many, "all"],
      [{ "label-7": "x" }, "one"],
      [{ "label-7": "y" }, "other"],
    ]);
    const found = groups.selecting({ ...many, more: "x" }).flatMap(({ members }) => members);
    assert.deepEqual(found.toSorted(), ["all", "one"]);
  });

  test("the text of a selector does not depend on the order of its labels, and tells selectors apart", () => {
    assert.equal(selectorText({ a: "1", b: "2" }), selectorText({ b: "2", a: "1" }));
    assert.notEqual(selectorText({ a: "1=b" }), selectorText({ "a=1": "b" }));
  });
});

test("labelled objects are selected as one by one, in their order", () => {
  fc.assert(
    fc.property(fc.array(someLabels), fc.array(someLabels), (objects, selectors) => {
      const labelled = new Labelled(objects, (labels) => labels);
      for (const selector of selectors)
        assert.deepEqual(
          labelled.selected(selector),
          objects.filter((labels) => selects(selector, labels)),
        );
    }),
    { numRuns: 1000 },
  );
});
