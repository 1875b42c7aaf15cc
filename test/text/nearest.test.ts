import assert from "node:assert/strict";
import test from "node:test";
import { nearest, suggestion } from "../../src/text/nearest.ts";

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

test("a suggestion is the end of a sentence, or nothing", () => {
  assert.equal(suggestion("dney", ["deny"]), '; did you mean "deny"?');
  assert.equal(suggestion("block", ["deny"]), "");
});
