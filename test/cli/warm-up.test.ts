import assert from "node:assert/strict";
import { test } from "node:test";
import { createWarmUp } from "../../src/cli/serve/warm-up.ts";

const never = new AbortController().signal;

test("a few hundred built-in reviews are judged before /readyz says yes", async () => {
  const warmUp = createWarmUp();
  assert.equal(warmUp.check.problem(), "evaluating built-in reviews first");
  const running = warmUp.run({ now: () => 0, stop: never });
  assert.notEqual(warmUp.check.problem(), undefined);
  assert.deepEqual(await running, { reviews: 200, milliseconds: 0 });
  assert.equal(warmUp.check.problem(), undefined);
});

test("a machine on which it takes longer than three seconds becomes ready all the same", async () => {
  const warmUp = createWarmUp();
  let seconds = 0;
  const { reviews } = await warmUp.run({ now: () => 1_000 * seconds++, stop: never });
  assert.equal(reviews, 3);
  assert.equal(warmUp.check.problem(), undefined);
});

test("a server that is stopped meanwhile does not go on", async () => {
  const warmUp = createWarmUp();
  assert.deepEqual(await warmUp.run({ now: () => 0, stop: AbortSignal.abort() }), { reviews: 0, milliseconds: 0 });
});
