import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { everyRequest, type Request } from "../../../../src/mesh/authorization/requests/boxes.ts";
import { inside, isMet } from "../../../../src/mesh/authorization/requests/difference.ts";
import { rulesAt } from "../../../../src/mesh/authorization/requests/policies.ts";
import {
  both,
  keyOfSet,
  type RequestSet,
  separated,
  simplified,
  without,
} from "../../../../src/mesh/authorization/requests/sets.ts";
import { Undecided, Work } from "../../../../src/mesh/authorization/requests/work.ts";
import { defaultMeshSettings } from "../../../../src/view/settings.ts";
import { plainRequests, policies, requestOf } from "./arbitrary.ts";

const much = () => new Work(400_000);
/** The requests that the rules of a policy match, as they come. */
const sets: fc.Arbitrary<RequestSet> = policies.map((policy) =>
  rulesAt(policy, "http", defaultMeshSettings).flatMap(({ match }) => [...inside(everyRequest, match, much())]),
);
const requests = plainRequests.map(requestOf);
const has = (set: RequestSet, request: Request): boolean => set.some(({ clauses }) => isMet(clauses, request));

/** Runs a property, except for the rare sets that take too much work. */
function law(numRuns: number, check: (a: RequestSet, b: RequestSet, some: readonly Request[]) => void): void {
  let undecided = 0;
  fc.assert(
    fc.property(sets, sets, fc.array(requests, { minLength: 8, maxLength: 8 }), (a, b, some) => {
      try {
        check(a, b, some);
      } catch (error) {
        if (!(error instanceof Undecided)) throw error;
        undecided++;
      }
    }),
    { numRuns },
  );
  assert.ok(undecided < numRuns / 10, `${undecided} of ${numRuns} take too much work`);
}

describe("unions of boxes", () => {
  test("what is in one set and not in another, and what is in both", () => {
    law(150, (a, b, some) => {
      const [left, common] = [without(a, b, much()), both(a, b, much())];
      for (const request of some) {
        assert.equal(has(left, request), has(a, request) && !has(b, request));
        assert.equal(has(common, request), has(a, request) && has(b, request));
      }
    });
  });

  test("the simplified set has the same requests, whatever the order, and stays as it is", () => {
    law(150, (a, b, some) => {
      const whole = [...a, ...b];
      const simple = simplified(whole, much());
      for (const request of some) assert.equal(has(simple, request), has(whole, request));
      assert.equal(keyOfSet(simplified(whole.toReversed(), much())), keyOfSet(simple));
      for (const box of simple) assert.ok(without([box], whole, much()).length === 0, "it has nothing else");
      assert.deepEqual(without(whole, simple, much()), [], "nothing is missing");
    });
  });

  test("a set that is separated from others has all of its requests and none of theirs", () => {
    law(100, (a, b, some) => {
      const own = without(a, b, much());
      const apart = separated(own, b, much());
      for (const request of some) {
        if (has(own, request)) assert.ok(has(apart, request));
        if (has(b, request)) assert.ok(!has(apart, request));
      }
    });
  });
});
