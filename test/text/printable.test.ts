import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { printableLine, printableText, quoted } from "../../src/text/printable.ts";

const lines: readonly (readonly [string, string])[] = [
  ["plain text", "plain text"],
  ["Grüße, 世界 🌍", "Grüße, 世界 🌍"],
  ["one\r\n\ttwo\u2028three", "one two three"],
  ["\u001b[1;31mred\u001b[0m\u001b", "red"],
  ["bell\u0007 del\u007f c1\u009b", "bell del c1"],
  ["abc\u202edcba\u2069", "abcdcba"],
  ["zero\u200bwidth\ufeff", "zerowidth"],
  ["half \ud83d pair", "half  pair"],
];

for (const [given, expected] of lines) {
  test(`a line: ${JSON.stringify(given)}`, () => assert.equal(printableLine(given, 64), expected));
}

test("a line is cut by code points", () => {
  assert.equal(printableLine("abcdef", 6), "abcdef");
  assert.equal(printableLine("abcdefg", 6), "abcde…");
  assert.equal(printableLine("🌍".repeat(6), 6), "🌍".repeat(6));
  assert.equal(printableLine("🌍".repeat(7), 6), `${"🌍".repeat(5)}…`);
});

test("a text keeps its lines", () => {
  assert.equal(printableText("a\r\nb\tc\u0000\u2029d", 100), "a\nb c\nd");
});

test("a value is quoted, and cannot close its quotes", () => {
  assert.equal(quoted('a"b\\'), String.raw`"a\"b\\"`);
  assert.equal([...quoted("x".repeat(100))].length, 66);
});

test("no text gets a control character, a mark that reorders, or too much length past it", () => {
  const text = fc.string({ unit: "binary", maxLength: 400 });
  const property = fc.property(text, fc.integer({ min: 100, max: 300 }), (given, limit) => {
    const line = printableLine(given, limit);
    assert.doesNotMatch(line, /[\p{Cc}\p{Cs}\p{Bidi_Control}]/u);
    assert.ok([...line].length <= limit);
    assert.equal(printableLine(line, limit), line);
    const whole = printableText(given, limit);
    assert.doesNotMatch(whole.replaceAll("\n", ""), /[\p{Cc}\p{Cs}\p{Bidi_Control}]/u);
    assert.ok(Buffer.byteLength(whole) <= limit);
  });
  fc.assert(property, { numRuns: 300 });
});
