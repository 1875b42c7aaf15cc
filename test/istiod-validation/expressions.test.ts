import assert from "node:assert/strict";
import { test } from "node:test";
import { expressionProblem } from "../../src/istiod-validation/expressions.ts";

test("a name may begin with true or false", () => {
  for (const text of ["falsex", "trueish.x == 'falsely // true1'", "x ? truea : falseb", "nullable"])
    assert.equal(expressionProblem(text), undefined, text);
  assert.equal(expressionProblem("a == true1 b"), 'it cannot be read from "b" on');
});
