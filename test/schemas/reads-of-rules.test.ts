import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseExpression } from "../../src/cel/program.ts";
import { partRead, readsOf } from "../../src/schemas/reads-of-rules.ts";
import { publishedKinds } from "../../src/schemas/published.ts";
import type { Schema } from "../../src/schemas/schema.ts";
import { brokenRules } from "../../src/schemas/validation-rules.ts";
import { randomObjects } from "./random-objects.ts";

/** What a rule reads of a value, as the text that two values share if the rule says the same about both. */
function read(rule: string, value: unknown): string {
  const parsed = parseExpression(rule);
  assert.ok("root" in parsed, rule);
  return JSON.stringify(partRead(value, readsOf([parsed.root])));
}

describe("what a rule reads", () => {
  const route = {
    name: "r",
    matches: [{ path: { type: "Exact", value: "/a" } }],
    namespace: "shop",
    other: { a: [1] },
  };
  for (const [rule, value, expected] of [
    ["!has(self.name) || !has(self.gone)", route, { name: true }],
    ["self.name == 'r'", route, { name: "r" }],
    ["has(self.other.b)", route, { other: {} }],
    ["has(self.matches) ? self.matches.size() < 2 : true", route, { matches: [true] }],
    [
      "size(self.matches) != 1 || self.matches[0].path.type == 'Exact'",
      route,
      { matches: [{ path: { type: "Exact" } }] },
    ],
    ["self.matches.all(m, has(m.path) && has(m.path.value))", route, { matches: [{ path: { value: true } }] }],
    ["self.__namespace__ == 'shop'", route, { namespace: "shop" }],
    ["self.other == {}", route, { other: { a: [1] } }],
    ["self.size() > 1", route, { name: true, matches: true, namespace: true, other: true }],
    ["self.all(key, key != 'x' && has(self.name))", route, { name: true, matches: true, namespace: true, other: true }],
    ["self.all(key, self[key] != 'x')", route, route],
    ["self['name'] == 'r'", route, route],
    ["self.all(a, self.exists_one(b, a.name == b.name))", [{ name: 1, more: 2 }, { more: 3 }], [{ name: 1 }, {}]],
    // The variable of a macro hides the value.
    ["[{'name': 'x'}].all(self, self.name == 'x')", route, true],
    ["self.all(self, self.more == 2)", [{ name: 1, more: 2 }], [{ more: 2 }]],
    ["self.all(a, a in self)", [{ name: 1 }], [{ name: 1 }]],
    ["self.filter(a, a.name == 1).size() < 2", [{ name: 1, more: 2 }], [{ name: 1, more: 2 }]],
    ["self.map(a, a.more).exists(m, m == 2)", [{ name: 1, more: 2 }], [{ more: 2 }]],
    ["(has(self.name) ? self.other : {}).size() > 0", route, { name: true, other: { a: [1] } }],
    ["true", route, true],
    // A value of another type than the rule expects.
    ["self.name == 'r'", [route], [route]],
    ["self[0].name == 'r'", "text", "text"],
    ["has(self.name.first)", { name: "r" }, { name: "r" }],
    ["has(self.name)", { name: null }, {}],
    // What is the name of a field to one rule, and a key to the other.
    ["has(self.a.x__underscores__y) || self.a.x__y == 1", { a: { x__y: [1] } }, { a: { x__y: [1] } }],
  ] as const)
    test(rule, () => assert.equal(read(rule, value), JSON.stringify(expected)));
});

/** The same schema, of which nothing is known yet. */
const copied = (schema: Schema): Schema => structuredClone(schema);

describe("what is kept about values", () => {
  test("says of every object of the built-in kinds what its rules say", () => {
    const schemas = new Map<string, Schema>(
      publishedKinds.flatMap(({ group, kind, versions }) =>
        [...versions].map(([version, schema]) => [`${group}/${version} ${kind}`, schema() ?? {}] as const),
      ),
    );
    let broken = 0;
    for (const object of randomObjects(40, 7)) {
      const schema = schemas.get(`${object.apiVersion} ${object.kind}`);
      assert.ok(schema !== undefined);
      const kept = brokenRules(object, schema);
      assert.deepEqual(kept, brokenRules(object, copied(schema)), JSON.stringify(object));
      broken += kept.length;
    }
    assert.ok(broken > 50, `only ${broken} rules were broken`);
  });

  test("says of every value what the rules of a definition say", () => {
    const rules = [
      ...["!has(self.a) || self.a.size() < 2", "has(self.b) ? self.b == self.a : true", "self.size() < 3"],
      ...["has(self.a) && self.a.all(x, x.c > 1)", "self.all(key, key != 'a')", "self.a[0].c == self.b[0].c"],
      ...["!has(self.a) || self.a.exists_one(x, has(x.c) && self.a.all(y, y.c >= x.c))", "self.b.__namespace__ == 'x'"],
      ...["self.a.all(self, self.c == 1)", "has(self.b.a__dash__b) != has(self.b.c)", "type(self.a) == list"],
      ...[
        "!('x' in self.b) || self.b.x == 1",
        "self.a.filter(x, x.c == 1).size() == 1",
        "self.b.all(k, self.b[k] == 1)",
      ],
    ];
    const inner = fc.constantFrom<unknown[]>(0, 1, 2, "x", null, true);
    const value = fc.oneof(
      inner,
      fc.array(fc.oneof(inner, fc.record({ c: inner }, { requiredKeys: [] })), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom("x", "c", "namespace", "a-b", "__namespace__"), inner, { maxKeys: 3 }),
    );
    const object = fc.record({ a: value, b: value, c: value }, { requiredKeys: [] });
    for (const open of [{}, { type: "object", additionalProperties: {} }]) {
      const properties = { a: {}, b: open, c: {} };
      const schemas = rules.map(
        (rule): Schema => ({ properties: { spec: { properties, "x-kubernetes-validations": [{ rule }] } } }),
      );
      const property = fc.property(object, fc.constantFrom(...schemas), (spec, schema) => {
        assert.deepEqual(brokenRules({ spec }, schema), brokenRules({ spec }, copied(schema)));
      });
      fc.assert(property, { numRuns: 3000 });
    }
  });
});
