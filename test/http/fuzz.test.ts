import assert from "node:assert/strict";
import { test } from "node:test";
import { checkAnswer, denied, Fuzzer } from "./fuzzed-reviews.ts";
import { startFuzzedServer } from "./fuzzed-server.ts";

// `npm run fuzz -- 200000` sends as many, with other seeds.

test("what is denied is denied, or the reviews below would show nothing", async () => {
  const server = await startFuzzedServer();
  try {
    for (const [seed, review] of Object.entries(denied)) {
      const { status, text } = await server.post(JSON.stringify(review));
      checkAnswer({ seed, body: "", isDenied: true, uid: "9c1a" }, status, text);
      assert.match(text, /"decision":"deny"/, seed);
    }
  } finally {
    await server.close();
  }
});

test("1,500 reviews with anything in them: each answer has the uid, denies what is denied, and is clean", async () => {
  const server = await startFuzzedServer();
  const fuzzer = new Fuzzer(1);
  try {
    let allowed = 0;
    for (let count = 0; count < 1_500; count++) {
      const fuzzed = fuzzer.next();
      const { status, text } = await server.post(fuzzed.body);
      checkAnswer(fuzzed, status, text);
      if (text.includes('"allowed":true')) allowed++;
    }
    // Some changes turn a denied review into one that is allowed.
    assert.ok(allowed > 10, String(allowed));
    assert.equal(server.failures(), 0);
  } finally {
    await server.close();
  }
});
