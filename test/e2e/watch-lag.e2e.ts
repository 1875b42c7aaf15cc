import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Output } from "./control-plane.ts";
import { type Environment, environment, namespace, type Raw, seen, send, skip, succeeds } from "./environment.ts";
import { setTimeout as later } from "node:timers/promises";
import { canary, subsets } from "./workloads.ts";

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

  // Two writes that each look right alone always race. What matters is how short the window is.
  test("two people at once: what slips through is counted, by how far apart they write", async (t) => {
    const pairs = 15;
    const gapsMs = [0, 5, 10, 25, 50, 100, 250];
    const path = (plural: string, host: string) => `/apis/networking.istio.io/v1/namespaces/${here}/${plural}/${host}`;
    for (const gapMs of gapsMs) {
      const hosts = Array.from({ length: pairs }, (_, i) => `races-${gapMs}-${i}`);
      await succeeds(
        all.plane,
        ["apply", "-f", "-"],
        hosts.flatMap((host) => [subsets(here, host, "v1", "v2"), canary(here, host, { v1: 100 })]),
      );
      await seen(all);
      let slipped = 0;
      for (const host of hosts) {
        const [uses, removes] = await Promise.all([
          all.plane.patch(path("virtualservices", host), canary(here, host, { v1: 90, v2: 10 }), "tenant"),
          later(gapMs).then(() => all.plane.patch(path("destinationrules", host), subsets(here, host, "v1"), "tenant")),
        ]);
        for (const { status, body } of [uses, removes]) assert.ok(status === 200 || status === 403, body);
        const isBroken = uses.status === 200 && removes.status === 200;
        if (isBroken) slipped++;
        assert.ok(isBroken || [uses, removes].some(({ body }) => body.includes("subset-not-found")), removes.body);
      }
      t.diagnostic(`${gapMs} ms apart: ${slipped} of ${pairs} pairs of writes both passed`);
      if (gapMs === gapsMs.at(-1)) assert.equal(slipped, 0, "what was written long ago is not seen");
    }
  });
});
