import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { mostSteps, metered } from "../../src/cel/cost.ts";
import { costProblem } from "../../src/cel/estimated-cost.ts";
import { CelLanguage, parseExpression } from "../../src/cel/program.ts";
import { celValueOf } from "../../src/cel/values.ts";

const parsed = (text: string) => {
  const found = parseExpression(text);
  assert.ok(!("message" in found), text);
  return found;
};

/** Macros within each other, whose condition is true, so that every item is visited. */
const nested = (depth: number): string =>
  Array.from({ length: depth }).reduce<string>((inner, _, i) => `object.hosts.all(v${i}, ${inner})`, "true");

const language = new CelLanguage();
function isWithinLimit(text: string, items: number): boolean {
  const object = celValueOf({ hosts: Array.from({ length: items }, (_, i) => `h${i}`) });
  const program = language.program(parsed(text));
  try {
    metered(mostSteps, () => program({ object }));
    return true;
  } catch {
    return false;
  }
}

describe("the cost of an expression before it is evaluated", () => {
  for (const text of [
    "true",
    nested(1),
    nested(2),
    nested(3),
    "object.hosts.map(h, h + '.').filter(h, h.size() > 2).all(h, object.hosts.exists(g, g == h))",
    "['a', 'b'].all(a, ['c', 'd'].all(b, ['e'].all(c, ['f', 'g'].all(d, object.hosts.exists(h, h == a + b + c + d)))))",
    "{'a': 1, 'b': 2}.all(k, object.hosts.all(a, object.hosts.all(b, a + k != b)))",
    "object.hosts.all(h, h != 'a') && object.hosts.all(h, h != 'b') && object.hosts.all(h, h != 'c') && object.hosts.all(h, h != 'd')",
  ])
    test(`is right for twenty items in each list: ${text.slice(0, 60)}`, () => {
      assert.equal(costProblem(parsed(text).root), undefined);
      assert.ok(isWithinLimit(text, 20), "and so it is when it is evaluated");
    });

  for (const [depth, items] of [
    [4, 12],
    [5, 8],
    [6, 6],
  ] as const)
    test(`${depth} lists within each other cost too much from ${items} items on, as when it is evaluated`, () => {
      const problem = costProblem(parsed(nested(depth)).root);
      assert.match(problem ?? "", new RegExp(`as soon as each list has ${items} items`));
      assert.deepEqual(
        [items - 1, items].map((count) => isWithinLimit(nested(depth), count)),
        [true, false],
      );
    });

  test("no expression of the longest size takes long to estimate", () => {
    const deep = nested(60);
    const wide = Array.from({ length: 200 }, () => nested(1)).join(" && ");
    for (const text of [deep, wide]) costProblem(parsed(text).root);
    assert.match(costProblem(parsed(deep).root) ?? "", /2 items/);
    assert.equal(costProblem(parsed(wide).root), undefined);
  });
});
