import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { checkExpression } from "../../src/cel/check.ts";
import { type ExpressionType, mapOf, shownType, types } from "../../src/cel/expression-types.ts";
import { CelLanguage, parseExpression } from "../../src/cel/program.ts";
import { typeOfSchema } from "../../src/custom-rules/object-types.ts";
import { FieldUse, keptOf } from "../../src/kube/kept-fields.ts";

const text = { type: "string" };
const schema = {
  type: "object",
  properties: {
    name: text,
    labels: { type: "object", additionalProperties: text },
    modes: { type: "object", additionalProperties: { type: "object", properties: { mode: text } } },
    ports: { type: "array", items: { type: "object", properties: { number: { type: "integer" }, name: text } } },
    hosts: { type: "array", items: text },
    rate: { type: "number" },
    tls: { type: "object", properties: { mode: text, names: { type: "array", items: text } } },
    target: { "x-kubernetes-int-or-string": true },
    level: { type: "string", enum: ["LOW", "HIGH"] },
    any: {},
  },
};
const language = new CelLanguage();

function check(expression: string) {
  const use = new FieldUse();
  const object = typeOfSchema(schema, { title: "", use });
  const params: ExpressionType = mapOf(types.dyn);
  const variables = new Map([
    ["object", object],
    ["params", params],
  ]);
  const parsed = parseExpression(expression);
  assert.ok(!("message" in parsed), expression);
  return { ...checkExpression(parsed, { variables, functions: language.functions }), use };
}

describe("right expressions", () => {
  for (const [expression, type] of [
    ["object.name.startsWith('a')", "bool"],
    [
      "object.level == 'LOW' || object.level in ['HIGH', 'LOW'] || object.level == '' || object.level != object.name",
      "bool",
    ],
    ["(object.name == '' ? object.level : 'MIDDLE') == 'MIDDLE' && object.level + 'X' == 'LOWX'", "bool"],
    ["object.level.lowerAscii() == 'low' && ['MIDDLE', object.level].exists(l, l == 'MIDDLE')", "bool"],
    ["object.ports.all(p, p.number > 80 || p.name.size() > 1)", "bool"],
    ["object.ports.filter(p, has(p.name)).map(p, p.number)", "list of int"],
    ["object.ports.map(p, p.name == 'a', p.number).sum()", "dyn"],
    ["object.labels['a']", "string"],
    ["object.modes['80'].mode + 'x'", "string"],
    ["object.rate > 1 && object.rate < 1.5", "bool"],
    ["object.target == 80 || object.target == 'http'", "bool"],
    ["object.any.deep.down[3] == 'x'", "bool"],
    ["dyn(object).later == 1", "bool"],
    ["'a' in object.hosts && 'a' in object.labels && 1 in [1.0]", "bool"],
    ["has(object.tls.mode) ? object.tls.mode : 'none'", "string"],
    ["{'a': 1}['a'] + 1", "int"],
    ["[] + [1]", "list of int"],
    ["type(object.name) == string", "bool"],
    ["object.labels.all(k, object.labels[k] != '')", "bool"],
    ["duration('1s') + duration('2s') > duration('1s')", "bool"],
    ["params.anything > 3", "bool"],
    ["object.hosts.exists_one(h, h == 'a') && object.tls != null", "bool"],
  ] as const)
    test(expression, () => {
      const { problems, type: found } = check(expression);
      assert.deepEqual(problems, []);
      assert.equal(shownType(found), type);
    });
});

describe("wrong expressions", () => {
  for (const [expression, message, column] of [
    ["object.level == 'low'", 'what is compared with "low" is always one of "LOW", "HIGH": did you mean "LOW"?', 17],
    ["'HIHG' != object.level", 'what is compared with "HIHG" is always one of "LOW", "HIGH": did you mean "HIGH"?', 1],
    ["object.level in ['LOW', 'MIDDLE']", 'what is compared with "MIDDLE" is always one of "LOW", "HIGH"', 25],
    ["object.nam == 'a'", 'the object has no field nam: did you mean "name"?', 7],
    ["object.tls.mod == 'a'", 'tls has no field mod: did you mean "mode"?', 11],
    ["object.ports.all(p, p.nmae == 'a')", 'ports[] has no field nmae: did you mean "name"?', 22],
    [
      "object.ports.exists(p, p.zzzzzzz == 'a')",
      "ports[] has no field zzzzzzz; write dyn(…).zzzzzzz if your version of the kind has it",
      25,
    ],
    ["object.ports.map(p, p.name)[0].x == 1", "a string has no field x", 31],
    ["objet.name == 'a'", 'there is no variable objet: did you mean "object"?', 1],
    ["object.name.startWith('a')", 'there is no method startWith(): did you mean "startsWith"?', 12],
    ["sizes('a') == 1", 'there is no function sizes(): did you mean "size"?', 1],
    ["startsWith('a', 'b')", "there is no function startsWith(); it is written value.startsWith(…)", 1],
    ["'a'.isIP()", "there is no method isIP(); it is written isIP(…)", 4],
    ["object.name.startsWith(1)", "string.startsWith(int) does not exist; there is string.startsWith(string)", 12],
    ["object.name > 1", "> cannot be used with string and int", 13],
    ["object.name == 1", "== compares a string with an int", 13],
    ["object.ports == 'a'", "== compares a list of object with a string", 14],
    ["object.name && true", "&& needs bool, and this is a string", 1],
    ["object.name ? 1 : 2", "?: needs bool, and this is a string", 1],
    ["object.ports[0].number + 'a'", "+ has an int and a string; convert one of them", 24],
    ["object.name.all(c, c == 'a')", "a macro needs a list or a map, and this is a string", 7],
    ["object.hosts.all(h, h.size())", "&& needs bool, and this is an int", undefined],
    ["1 in object.hosts", "in compares an int with a string", 2],
    ["object.hosts['a'] == 'a'", "a list needs an int in [ ], and this is a string", 13],
    ["object['nam'] == 'a'", ' has no field nam: did you mean "name"?', 7],
    ["!object.name", "! cannot be used with string", 1],
  ] as const)
    test(expression, () => {
      const { problems } = check(expression);
      assert.equal(problems[0]?.message, message);
      if (column !== undefined) assert.equal(problems[0]?.column, column);
      assert.equal(problems[0]?.line, 1);
    });
});

describe("what is read of an object", () => {
  const value = {
    name: "n",
    labels: { a: "1", b: "2" },
    modes: { "80": { mode: "m", more: "x" } },
    ports: [
      { number: 1, name: "p", more: "x" },
      { number: 2, more: "y" },
    ],
    hosts: ["h"],
    tls: { mode: "m", names: ["x"] },
    any: { deep: { down: 1, other: 2 } },
  };
  for (const [expression, kept] of [
    ["object.name == 'n'", { name: "n" }],
    ["object.labels['a'] == '1'", { labels: { a: "1" } }],
    ["'a' in object.labels", { labels: { a: "1" } }],
    ["object.labels.all(k, k != '')", { labels: { a: "1", b: "2" } }],
    ["object.labels[object.name] == ''", { name: "n", labels: { a: "1", b: "2" } }],
    ["object.ports.all(p, has(p.name))", { ports: [{ name: "p" }, {}] }],
    ["object.ports.filter(p, p.number > 1).all(q, q.name != '')", { ports: [{ number: 1, name: "p" }, { number: 2 }] }],
    ["size(object.ports) > 1 && object.ports.size() > 1", { ports: [{}, {}] }],
    ["has(object.tls)", { tls: {} }],
    ["has(object.tls.names)", { tls: { names: ["x"] } }],
    ["object.tls == object.tls", { tls: value.tls }],
    ["[object.tls].all(t, t.mode == '')", { tls: { mode: "m" } }],
    ["[object.tls, object.tls].size() == 2", { tls: value.tls }],
    ["object.modes['80'].mode == 'm'", { modes: value.modes }],
    ["dyn(object).tls.mode == 'm'", { tls: { mode: "m" } }],
    ["object.any.deep.down == 1", { any: { deep: { down: 1 } } }],
    ["object.hosts.exists(h, h == 'h')", { hosts: ["h"] }],
    ["dyn(object) != null", {}],
    ["(true ? object.tls : object.tls).mode == ''", { tls: value.tls }],
  ] as const)
    test(expression, () => {
      const { use, problems } = check(expression);
      assert.deepEqual(problems, []);
      assert.deepEqual(keptOf(value, use), kept);
    });
});
