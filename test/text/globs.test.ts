import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { globs } from "../../src/text/globs.ts";

const cases: readonly [glob: string, text: string, matches: boolean][] = [
  ["payments", "payments", true],
  ["payments", "payments-eu", false],
  ["payments-*", "payments-eu", true],
  ["payments-*", "payments-", true],
  ["payments-*", "payments", false],
  ["*", "", true],
  ["*-eu", "payments-eu", true],
  ["a*a", "a", false],
  ["a*a", "aa", true],
  ["a*b*c", "a-b-b-c", true],
  ["a*b*c", "acb", false],
  ["a**b", "ab", true],
  ["*ab*ab", "xabab", true],
  ["*ab*ab", "xab", false],
  ["system:serviceaccount:*:flagger", "system:serviceaccount:flagger-system:flagger", true],
  ["system:serviceaccount:*:flagger", "system:serviceaccount:flagger-system:flagger-loadtester", false],
  // Nothing but the star is special.
  ["a.c", "abc", false],
  ["a.*", "a.b", true],
  ["a.*", "ab", false],
  ["[a]*", "a", false],
];

for (const [glob, text, matches] of cases) {
  test(`${glob} ${matches ? "matches" : "does not match"} "${text}"`, () => {
    assert.equal(globs([glob]).matches(text), matches);
  });
}

test("no names match nothing, and one of several is enough", () => {
  assert.equal(globs([]).matches(""), false);
  assert.equal(globs(["a", "b*"]).matches("bc"), true);
});

test("a glob means what the regular expression with .* means", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 10 });
  fc.assert(
    fc.property(word, text, (glob, name) => {
      const expected = new RegExp(`^${glob.replaceAll("*", ".*")}$`).test(name);
      assert.equal(globs([glob]).matches(name), expected);
    }),
  );
});
