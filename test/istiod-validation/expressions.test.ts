import assert from "node:assert/strict";
import { test } from "node:test";
import { expressionProblem } from "../../src/istiod-validation/expressions.ts";

test("a name may begin with true or false", () => {
  for (const text of ["falsex", "trueish.x == 'falsely // true1'", "x ? truea : falseb", "nullable"])
    assert.equal(expressionProblem(text), undefined, text);
  assert.equal(expressionProblem("a == true1 b"), 'it cannot be read from "b" on');
});

// Each was compared with the parser of cel-go that istiod 1.32 has.
test("a field in backquotes is one", () => {
  for (const text of ["a.`b`", "a.`b-c.d/e f` == 1", "has(a.`b`)", "a . `b` == '`'", "'a.`b`()'"])
    assert.equal(expressionProblem(text), undefined, text);
  for (const text of ["a.`b`()", "a.``", "`a`"]) assert.notEqual(expressionProblem(text), undefined, text);
});

test("a macro needs a field or the name of a variable", () => {
  for (const text of [
    "has(x)",
    "has(x[0])",
    "has(x())",
    "!has(x)",
    "a[has(x)]",
    "{'a': has(x)}",
    "a.exists(x, has(x))",
  ])
    assert.equal(expressionProblem(text), "has() needs a field, such as has(a.b)", text);
  for (const text of ["a.exists(1, b)", "a.all(b.c, b)", "a.map(1, y)", "a.map(1, x, y)", "a.filter(1, x)"])
    assert.match(expressionProblem(text) ?? "", /^"\w+" needs the name of a variable first$/, text);
  for (const text of ["has(a.b)", "x.has(y)", "has(x, y)", "a.exists(x)", "exists(1, b)", "a.map(x, x > 1, x)"])
    assert.equal(expressionProblem(text), undefined, text);
});

test("a number has the range of its type", () => {
  for (const text of [
    "9223372036854775808",
    "-9223372036854775809",
    "--9223372036854775808",
    "x - 9223372036854775808",
    "0x8000000000000000",
    "18446744073709551616u",
    "1e400",
    "-1e400",
  ])
    assert.equal(expressionProblem(text), "it has a number that is too large", text);
  for (const text of ["9223372036854775807", "-9223372036854775808", "- 9223372036854775808", "18446744073709551615u"])
    assert.equal(expressionProblem(text), undefined, text);
});
