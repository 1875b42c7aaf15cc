import assert from "node:assert/strict";
import { test } from "node:test";
import { defineCustomRules } from "../../src/custom-rules/compile.ts";

// A pattern that is a constant is checked when the policy is written, because it would fail for every object.

const problemsOf = (expression: string): readonly string[] => {
  const found = defineCustomRules("ours", [{ id: "a", kinds: ["Service"], message: "It is wrong", expression }]);
  return "problems" in found ? found.problems.map(({ message }) => message) : [];
};

for (const [expression, says] of [
  [
    "object.metadata.name.matches('[')",
    /"\[" is no regular expression of RE2: .*missing closing \].*line 1, column 21/,
  ],
  ["matches(object.metadata.name, '(a')", /"\(a" is no regular expression of RE2/],
  ["object.metadata.name.matches('(?=a)')", /is no regular expression of RE2/],
  ["object.metadata.name.matches('a{2000}')", /is no regular expression of RE2/],
  [`object.metadata.name.matches('${"a".repeat(1_001)}')`, /of more than 1000 characters/],
] as const)
  test(`${expression.slice(0, 60)} is refused`, () => {
    const [problem = "", ...others] = problemsOf(expression);
    assert.match(problem, says);
    assert.deepEqual(others, []);
  });

for (const expression of [
  "object.metadata.name.matches('^[a-z]+$')",
  "matches(object.metadata.name, '(?i)a')",
  // What is no constant is known when it is evaluated.
  "object.metadata.name.matches('[' + object.metadata.namespace)",
])
  test(`${expression} is accepted`, () => assert.deepEqual(problemsOf(expression), []));
