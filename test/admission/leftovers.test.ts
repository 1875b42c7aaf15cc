import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { answer } from "../../src/admission/answer.ts";
import { createGate } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { rules } from "../../src/rules/index.ts";
import { meshOf, storedMesh } from "../bench/mesh.ts";
import { updates } from "../bench/webhook.ts";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as (options?: { type: "minor" }) => void;

/** Bytes of objects that a minor garbage collection does not visit. */
const oldBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name: name }) => name === "old_space")?.space_used_size ?? Number.NaN;

describe("what a review leaves behind", () => {
  it("is little that a minor garbage collection does not free", async () => {
    const mesh = meshOf(storedMesh(1_000));
    const { policies } = await policiesOf({ profile: "baseline" });
    const gate = createGate({ mesh: () => mesh, policies: () => policies, rules });
    const bodies = updates(1_000).map((body) => Buffer.from(body));
    const ask = (count: number) => {
      for (let i = 0; i < count; i++) {
        const reading = readReview(bodies[i % bodies.length] as Buffer);
        if ("problem" in reading) assert.fail(reading.problem);
        assert.match(
          JSON.stringify(answer(reading.request.uid, gate.validate(reading.request), "/validate")),
          /allowed/,
        );
      }
    };
    // Until functions are compiled and indexes are built.
    ask(500);
    gc();
    const before = oldBytes();
    ask(1_500);
    gc({ type: "minor" });
    const left = (oldBytes() - before) / 1_500;
    assert.ok(left < 3_000, `each review leaves ${Math.round(left)} bytes among the old objects`);
  });
});
