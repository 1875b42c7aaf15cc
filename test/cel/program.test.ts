import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CostExceeded, metered, spend } from "../../src/cel/cost.ts";
import { CelLanguage, parseExpression, type Variables } from "../../src/cel/program.ts";
import { celValueOf } from "../../src/cel/values.ts";

const language = new CelLanguage();

function run(text: string, variables: Variables = {}, limit = 20_000): unknown {
  const parsed = parseExpression(text);
  if ("message" in parsed) throw new Error(parsed.message);
  return metered(limit, () => language.program(parsed)(variables)).value;
}

describe("values and functions", () => {
  for (const [text, expected] of [
    ["[1, 2, 3].map(x, x * 2).sum()", 12n],
    ["[1, 2, 3].filter(x, x > 1) == [2, 3]", true],
    ["[3, 1, 2].filter(x, x != 1).map(y, [y, y + 1].filter(z, z > 2)) == [[3, 4], [3]]", true],
    ["['b', 'a'].map(x, x).isSorted()", false],
    ["[1, 3].max() + [1, 3].min()", 4n],
    ["[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2", true],
    ["'banana'.replace('an', 'x')", "bxxa"],
    ["'banana'.replace('a', '', 2)", "bnna"],
    ["'ab'.replace('', '-')", "-a-b-"],
    ["'ab'.replace('', '-', 2)", "-a-b"],
    ["'a,b'.split(',').join('+')", "a+b"],
    ["'tacocat'.indexOf('co') == 2 && 'tacocat'.lastIndexOf('a') == 5 && 'a'.indexOf('') == 0", true],
    ["isIP('10.0.0.1') && !isIP('10.0.0.01') && !isIP('::1%eth0')", true],
    ["isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0')", true],
    ["url('https://a.example.com:8080/b?c=d').getHost()", "a.example.com:8080"],
    ["duration('1000\u03bcs') == duration('1000\u00b5s')", true],
    ["duration('1h') > duration('59m')", true],
    ["'%s has %d'.format(['a', 1])", "a has 1"],
    ["object.spec.weight == 50 && object.spec.weight < 50.5 && object.spec.rate == 0.5", true],
    ["object.metadata.namespace", "shop"],
    ["has(object.spec.absent) || has(object.spec.nothing)", false],
    ["object.metadata.labels['a/b'] == 'c' && 'a/b' in object.metadata.labels", true],
    ["// The first\n  // and the second\n1 // at the end", 1n],
    ["[1, // one [\n 2] // 'two\r\n == [1, // again\n\n 2]", true],
    [String.raw`'// \' // '.size() + r'\'.size() + "//".size() + R"""//"//""".size() // c`, 16n],
    ["has(object.spec.constructor) || has(object.spec.__proto__)", false],
  ] as const)
    test(text, () => {
      const object = celValueOf({
        metadata: { namespace: "shop", labels: { "a/b": "c" } },
        spec: { weight: 50, rate: 0.5, nothing: null },
      });
      assert.equal(run(text, { object }), expected);
    });
});

describe("errors", () => {
  for (const [text, error] of [
    ["int('0x10') == 16", /"0x10" is no int \(line 1, column 1/],
    ["int('') == 0", /is no int/],
    ["int('9223372036854775808') == 0", /out of the range/],
    ["double(' 1') == 1.0", /is no double/],
    ["duration('') == duration('0s')", /duration\(""\) has no value/],
    ["object.spec.a == 1", /field not found: spec/],
    ["[1, 2][5] == 1", /the list has no item at index 5 \(line 1, column/],
    ["true &&\n  object.spec == 1", /line 2, column \d+ of the expression/],
    ["// why\ntrue && // é\n  object.spec == 1", /line 3, column \d+ of the expression/],
    ["'a'.matches('(')", /missing closing \)/],
    ["[1, 'a'].sum() == 1", /numbers of one type/],
    ["[].max() == 1", /empty list/],
    ["['a'][5] == 'a'", /./],
    ["constructor == 1", /unresolved/],
  ] as const)
    test(text, () => assert.throws(() => run(text, { object: celValueOf({ a: 1 }) }), error));
});

describe("what cannot be read", () => {
  for (const [text, error, line] of [
    ["1 +", /syntax error/, 1],
    ["[1,\n 2 3]", /syntax error: it cannot be read from/, 2],
    ["object.metadata.name.startsWith(", /"\.startsWith\(" on; \( is not closed at the end/, 1],
    ["f(')'", /\( is not closed at the end/, 1],
    ["a)", /from "\)" on$/, 1],
    ["", /syntax error|empty/, 1],
    ["object.?spec", /optional fields .* are not supported/, 1],
    ["(".repeat(300) + "1" + ")".repeat(300), /nested more than 200 levels/, 1],
    ["!".repeat(5_000) + "true", /nested more than 200 levels/, 1],
    ["'".padEnd(10_001, "a") + "'", /more than 10000 characters/, 1],
    ["\u0000", /syntax error/, 1],
  ] as const)
    test(JSON.stringify(text.slice(0, 30)), () => {
      const parsed = parseExpression(text);
      assert.ok("message" in parsed);
      assert.match(parsed.message, error);
      assert.equal(parsed.line, line);
    });
});

describe("cost", () => {
  const many = Array.from({ length: 5_000 }, (_, i) => i);
  const long = "a".repeat(300_000);
  const variables = { many: celValueOf(many), long, texts: celValueOf(many.map(String)) };

  test("a macro over a list is linear, and what it fills is read in linear time", () => {
    assert.equal(run("many.filter(x, x >= 0).map(x, x + 1).size()", variables), 5_000n);
    assert.equal(run("many.map(x, x).all(x, x >= 0)", variables), true);
    assert.equal(run("texts.filter(x, x != '').join(',').size() > 5000", variables), true);
  });

  for (const text of [
    "many.all(x, many.all(y, many.all(z, true)))",
    "many.exists(x, many.exists(y, x + y < 0)) || true",
    "true || many.all(x, many.all(y, true)) ? many.all(x, many.all(y, true)) : false",
    "many.all(x, x in many)",
    "many.all(x, many == many)",
    "many.map(x, many).size() == 5000 && many.map(x, many) == many.map(x, many)",
    "many.map(x, long).join('') == ''",
    "long.replace('a', long) == ''",
    "long.replace('a', 'bb').replace('b', long) == ''",
    "long.contains('a'.replace('a', long + 'b'))",
    "long.matches('" + "(a|b)*".repeat(150) + "$')",
    "many.all(x, !long.contains('b'.replace('b', 'aaaaaaaaaaaaaaab')))",
    "many.all(x, (long + string(x)).size() > 0)",
    "many.map(x, long + string(x)).all(t, t.lowerAscii() != '')",
    "many.all(x, (many + many).size() > 0)",
    "many.all(x, '%s'.format([many]) != '')",
    "many.all(x, long.split('').size() > 0)",
  ])
    test(text.slice(0, 80), () => {
      const start = performance.now();
      assert.throws(() => run(text, variables), CostExceeded);
      // A quarter of a second is far more than any of them needs, and far less than what they would need without a limit.
      assert.ok(performance.now() - start < 5_000, `${performance.now() - start} ms`);
    });

  test("a pattern cannot be larger than its text", () => {
    assert.throws(() => run("'a'.matches('((a{1000}){1000}){1000}')"), /./);
    assert.throws(() => run("'a'.matches('a'.replace('a', long))", variables), /regular expression of more than 1000/);
  });

  test("no text grows without end", () => {
    assert.throws(
      () =>
        run("[long].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a) == []", { long }, 200_000),
      /more than 4000000 characters/,
    );
  });

  test("limits nest, and what is spent outside of a limit is free", () => {
    spend(1_000_000);
    assert.throws(() => metered(10, () => metered(100, () => spend(11)).spent && spend(11)), CostExceeded);
    assert.equal(metered(10, () => spend(4)).spent, 4);
    assert.throws(
      () =>
        metered(10, () => {
          throw new TypeError("own");
        }),
      TypeError,
    );
  });
});
