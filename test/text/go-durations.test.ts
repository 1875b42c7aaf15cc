import assert from "node:assert/strict";
import { test } from "node:test";
import { nanosecondsOf } from "../../src/text/go-durations.ts";

/** What time.ParseDuration of Go says. */
const durations: Readonly<Record<string, bigint>> = {
  ".5s": 500_000_000n,
  "+5s": 5_000_000_000n,
  "-5s": -5_000_000_000n,
  "-0s": 0n,
  "+0": 0n,
  "0": 0n,
  "1.s": 1_000_000_000n,
  "1h1m1.5s": 3_661_500_000_000n,
  "1.001s": 1_001_000_000n,
  "1.0000000001s": 1_000_000_000n,
  "0.1ns": 0n,
  "1us": 1_000n,
  "1\u00b5s": 1_000n,
  "1\u03bcs": 1_000n,
  "9223372036854775807ns": 2n ** 63n - 1n,
  "2562047h47m16.854775807s": 2n ** 63n - 1n,
  "-9223372036854775808ns": -(2n ** 63n),
  [`${"0".repeat(100)}1s`]: 1_000_000_000n,
};

test("durations are read as Go reads them", () => {
  for (const [text, nanoseconds] of Object.entries(durations)) assert.equal(nanosecondsOf(text), nanoseconds, text);
});

test("what Go does not read is no duration", () => {
  for (const text of [
    "",
    "s",
    ".s",
    "1",
    "00",
    "1e3s",
    "- 5s",
    "1h-1m",
    "1d",
    "5 s",
    "9223372036854775808ns",
    "2562048h",
  ])
    assert.equal(nanosecondsOf(text), undefined, text);
});

test("a very long text takes no time", () => {
  const start = performance.now();
  assert.equal(nanosecondsOf(`${"9".repeat(1_000_000)}s`), undefined);
  assert.equal(nanosecondsOf("1ns".repeat(300_000)), 300_000n);
  assert.equal(nanosecondsOf(`1.${"9".repeat(1_000_000)}`), undefined);
  assert.equal(nanosecondsOf("9".repeat(1_000_000)), undefined);
  assert.equal(nanosecondsOf(`${"9".repeat(1_000_000)}.${"9".repeat(1_000_000)}`), undefined);
  assert.ok(performance.now() - start < 5_000);
});
