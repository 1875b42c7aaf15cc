import assert from "node:assert/strict";
import test from "node:test";
import { bodyLimits } from "../../src/http/server.ts";

const mebibyte = 1_024 * 1_024;

test("a server keeps no more of bodies than a share of its memory, and always one of the largest size", () => {
  for (const [memory, inFlight, unfinished] of [
    [64, 16, 16],
    [256, 32, 16],
    [512, 64, 32],
    [4_096, 128, 64],
    [1_000_000, 128, 64],
  ] as const)
    assert.deepEqual(bodyLimits(memory * mebibyte), {
      inFlightBytes: inFlight * mebibyte,
      unfinishedBytes: unfinished * mebibyte,
    });
});
