import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { isOneEdit, nearest, suggestion } from "../../src/text/nearest.ts";

const ids = ["virtual-service-weights-not-100", "virtual-service-route-rejected", "object-malformed"];

const cases: readonly { word: string; candidates: readonly string[]; meant: string | undefined; because: string }[] = [
  { word: "virtual-service-weight-not-100", candidates: ids, meant: ids[0], because: "a letter is missing" },
  { word: "VirtualService-weights-not-100", candidates: ids, meant: ids[0], because: "case counts for nothing" },
  { word: "dney", candidates: ["deny", "warn"], meant: "deny", because: "a swap of neighbours is one edit" },
  { word: "offf", candidates: ["deny", "off"], meant: "off", because: "a letter too many" },
  { word: "block", candidates: ["deny", "warn", "off"], meant: undefined, because: "nothing is near" },
  { word: "on", candidates: ["off"], meant: "off", because: "two edits are few" },
  { word: "Foo", candidates: ["Job", "Pod"], meant: undefined, because: "two of three letters are too many" },
  { word: "Pdo", candidates: ["Job", "Pod"], meant: "Pod", because: "a swap is one edit" },
  { word: "xy", candidates: ["ab"], meant: undefined, because: "every letter would have to change" },
  { word: "aa", candidates: ["aab", "aac"], meant: "aab", because: "equally near: the first" },
  { word: "", candidates: ["a", "deny"], meant: undefined, because: "nothing was written" },
  { word: "a".repeat(1_000_000), candidates: ids, meant: undefined, because: "far longer than all" },
];

for (const { word, candidates, meant, because } of cases) {
  test(`"${word.slice(0, 40)}" stands for ${String(meant)}: ${because}`, () => {
    assert.equal(nearest(word, candidates), meant);
  });
}

test("a long name is found by its edits wherever they are", () => {
  const name = "a-service-account-of-31-letters";
  assert.equal(name.length, 31);
  for (const letters of [name, `${name}x`, "b".repeat(31)])
    for (let i = 0; i < letters.length - 1; i++) {
      const swapped = letters.slice(0, i) + letters[i + 1] + letters[i] + letters.slice(i + 2);
      for (const other of [
        swapped,
        letters.slice(0, i) + letters.slice(i + 1),
        `${letters.slice(0, i)}z${letters.slice(i)}`,
      ])
        assert.equal(nearest(other, ["z".repeat(30), letters]), letters);
    }
});

test("a suggestion is the end of a sentence, or nothing", () => {
  assert.equal(suggestion("dney", ["deny"]), '; did you mean "deny"?');
  assert.equal(suggestion("block", ["deny"]), "");
});

/** Optimal string alignment, by its definition. */
function edits(a: string, b: string): number {
  const of = (i: number, j: number): number => {
    if (i === 0 || j === 0) return i + j;
    const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
    return Math.min(
      of(i - 1, j) + 1,
      of(i, j - 1) + 1,
      of(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
      ...(isSwap ? [of(i - 2, j - 2) + 1] : []),
    );
  };
  return of(a.length, b.length);
}

test("of all candidates the first with the fewest edits is found, whatever is skipped on the way", () => {
  // Words with another letter than ASCII are compared in another way.
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c", "-", "a", "b", "\u00e9"), minLength: 4, maxLength: 6 });
  fc.assert(
    fc.property(word, fc.array(word, { maxLength: 6 }), (wanted, candidates) => {
      const near = candidates.filter((one) => edits(wanted, one) <= 2 && edits(wanted, one) < one.length);
      const fewest = Math.min(...near.map((one) => edits(wanted, one)));
      assert.equal(
        nearest(wanted, candidates),
        near.find((one) => edits(wanted, one) === fewest),
      );
    }),
    { numRuns: 200 },
  );
});

test("one edit is a letter more, fewer or another, or two neighbours swapped", () => {
  const near = ["router", "routr", "routers", "roster", "routre"].map((word) => isOneEdit(word, "router"));
  assert.deepEqual(near, [false, true, true, true, true]);
  assert.ok(!["rotuer ", "rout", "cors", ""].some((word) => isOneEdit(word, "router")));
});
