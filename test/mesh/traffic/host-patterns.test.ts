import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { firstOverlaps, HostPatterns } from "../../../src/mesh/traffic/host-patterns.ts";
import { covers, mostSpecificFirst, mostSpecificHost, overlaps } from "../../../src/mesh/traffic/hosts.ts";

/** Few letters, so that hosts cover each other. */
const host = fc
  .tuple(fc.constantFrom("", "", "*"), fc.array(fc.constantFrom("a", "b", "."), { maxLength: 6 }))
  .map(([star, letters]) => star + letters.join(""));
/** More than are compared one by one. */
const hosts = fc.array(host, { maxLength: 40, size: "max" });

test("the hosts that cover a host are those that a comparison with each of them finds", () => {
  fc.assert(
    fc.property(hosts, host, (all, one) => {
      const patterns = new HostPatterns(all);
      assert.equal(patterns.over(one), mostSpecificHost(one, all));
      const covering = [...new Set(all)].filter((other) => covers(other, one)).sort(mostSpecificFirst);
      assert.deepEqual(patterns.allOver(one), covering);
    }),
    { numRuns: 2_000 },
  );
});

test("the first overlaps are those that a comparison of all pairs finds", () => {
  let found = 0;
  fc.assert(
    fc.property(hosts, (all) => {
      const pairs = all.map((one, i) => all.findIndex((other, j) => j < i && overlaps(other, one)));
      assert.deepEqual(firstOverlaps(all), pairs);
      if (all.length > 20) found += pairs.filter((i) => i >= 0).length;
    }),
    { numRuns: 2_000 },
  );
  assert.ok(found > 0, "no long list has overlaps");
});
