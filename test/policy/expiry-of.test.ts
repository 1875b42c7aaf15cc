import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { expiryOf, withinItsDay } from "../../src/policy/expiry.ts";

const now = new Date("2026-11-26T11:30:15.250Z");

describe("when an exception ends that is written now", () => {
  for (const [text, expiresAt] of [
    ["90d", "2027-02-24"],
    ["1d", "2026-11-27"],
    ["12w", "2027-02-18"],
    ["1w2d", "2026-12-05"],
    ["36h", "2026-11-27T23:30:15Z"],
    ["1d12h", "2026-11-27T23:30:15Z"],
    ["90m", "2026-11-26T13:00:15Z"],
    ["720h30m10s", "2026-12-26T12:00:25Z"],
    ["2027-01-31", "2027-01-31"],
    // The end of a day counts.
    ["2026-11-26", "2026-11-26"],
    ["2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"],
    ["2027-01-31T18:00:00+02:00", "2027-01-31T18:00:00+02:00"],
    ["3660d", "2036-12-03"],
  ] as const)
    test(`${text}: ${expiresAt}`, () => assert.deepEqual(expiryOf(text, now), { expiresAt }));

  for (const [text, says] of [
    ["", /^expected a time from now such as 90d/],
    ["90", /^expected/],
    ["soon", /^expected/],
    ["-1d", /^expected/],
    ["1.5d", /^expected/],
    ["1y", /^expected/],
    ["2027-02-30", /^expected/],
    ["2027-1-31", /^expected/],
    ["2027-01-31T18:00:00", /^expected .* a time with a zone/],
    ["0d", /is not in the future$/],
    ["0s", /is not in the future$/],
    ["2026-11-25", /^2026-11-25 is not in the future$/],
    ["2026-11-26T11:30:15Z", /is not in the future$/],
    ["3662d", /more than 3660 days/],
    ["9999-12-31", /more than 3660 days/],
    ["999999999w999999999w", /more than 3660 days/],
    ["9".repeat(100_000), /^expected/],
    ["1d".repeat(100_000), /more than 3660 days/],
  ] as const)
    test(`${text.slice(0, 40)}: refused`, () => {
      const found = expiryOf(text, now);
      assert.match("problem" in found ? found.problem : "", says);
    });
});

test("the last day of an exception, as late as now, is a whole number of days from now", () => {
  assert.equal(withinItsDay("2026-12-26", now), "2026-12-26T11:30:15Z");
  assert.equal(withinItsDay("2026-12-26T18:00:00+02:00", now), "2026-12-26T18:00:00+02:00");
});
