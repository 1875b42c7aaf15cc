import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Output } from "./control-plane.ts";
import {
  type Environment,
  environment,
  namespace,
  type Raw,
  seen,
  send,
  skip,
  stored,
  succeeds,
} from "./environment.ts";
import { canary, service, subsets } from "./workloads.ts";

// The watch is always a little behind what was just written: a person's one `kubectl apply` must not be judged by it.

const here = "lag";
const rounds = 200;

describe("one apply of two objects that depend on each other", { skip }, () => {
  let all: Environment;
  before(async () => {
    all = await environment();
    await succeeds(all.plane, ["apply", "-f", "-"], [namespace(here)]);
  });
  const apply = (...objects: readonly Raw[]): Promise<Output> =>
    send(all.plane, ["apply", "-f", "-"], { objects, as: "tenant" });
  /** The outputs that were not as they should be. */
  async function failures(round: (host: string) => Promise<Output>, prefix: string): Promise<readonly string[]> {
    const failed: string[] = [];
    for (let i = 0; i < rounds; i++) {
      const { code, stderr } = await round(`${prefix}-${i}`);
      if (code !== 0) failed.push(stderr);
    }
    return failed;
  }

  test(`a DestinationRule, then the VirtualService that needs it: ${rounds} times, never refused`, async () => {
    const failed = await failures(
      (host) => apply(subsets(here, host, "v1", "v2"), canary(here, host, { v1: 90, v2: 10 })),
      "arrives",
    );
    assert.deepEqual(failed, []);
  });

  test(`a VirtualService that leaves a subset, then the DestinationRule without it: ${rounds} times, never refused`, async () => {
    const hosts = Array.from({ length: rounds }, (_, i) => `leaves-${i}`);
    for (const make of [
      (host: string) => subsets(here, host, "v1", "v2"),
      (host: string) => canary(here, host, { v1: 90, v2: 10 }),
    ]) {
      await succeeds(all.plane, ["apply", "-f", "-"], hosts.map(make));
      await seen(all);
    }
    const failed = await failures(
      (host) => apply(canary(here, host, { v1: 100 }), subsets(here, host, "v1")),
      "leaves",
    );
    assert.deepEqual(failed, []);
  });

  test("two people at once: what slips through is counted, and stands in no one's way", async (t) => {
    const pairs = 20;
    let slipped = 0;
    for (let i = 0; i < pairs; i++) {
      const host = `races-${i}`;
      await succeeds(
        all.plane,
        ["apply", "-f", "-"],
        [service(here, host), subsets(here, host, "v1", "v2"), canary(here, host, { v1: 100 })],
      );
      await seen(all);
      const both = await Promise.all([apply(canary(here, host, { v1: 90, v2: 10 })), apply(subsets(here, host, "v1"))]);
      const isBroken = both.every(({ code }) => code === 0);
      if (isBroken) slipped++;
      const rule = await stored(all.plane, "destinationrule", host, here);
      const hasBoth = rule?.spec.subsets.length === 2;
      assert.ok(isBroken || hasBoth || both[0].code !== 0, "one was refused, and yet the other's work is lost");
    }
    t.diagnostic(`${slipped} of ${pairs} pairs of writes at the same moment both passed`);
  });
});
