import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Box, everyRequest } from "../../../../src/mesh/authorization/requests/boxes.ts";
import { inside, isMatched, isMet, outside } from "../../../../src/mesh/authorization/requests/difference.ts";
import type { Match, Place } from "../../../../src/mesh/authorization/requests/matches.ts";
import { rulesAt } from "../../../../src/mesh/authorization/requests/policies.ts";
import { Undecided, Work } from "../../../../src/mesh/authorization/requests/work.ts";
import type { AllMeshSettings } from "../../../../src/view/settings.ts";
import { plainOf, plainRequests, policies, requestOf, settings } from "./arbitrary.ts";
import { isRuleMatched, type PlainRequest } from "./interpreter.ts";

const places: fc.Arbitrary<Place> = fc.constantFrom("http", "tcp", "ztunnel");
const contexts = fc.record({ place: places, mesh: settings });
type Policy = Parameters<typeof rulesAt>[0];

const isMatchedPlainly = (policy: Policy, request: PlainRequest, place: Place, mesh: AllMeshSettings): boolean =>
  policy.spec.rules.some((rule) =>
    isRuleMatched(rule, request, { place, action: policy.spec.action ?? "ALLOW", namespace: "a", settings: mesh }),
  );
const matchesOf = (policy: Policy, place: Place, mesh: AllMeshSettings): readonly Match[] =>
  rulesAt(policy, place, mesh).map(({ match }) => match);

/** The boxes, unless there are too many of them. */
function boxesOf(compute: () => Iterable<Box>): readonly Box[] | undefined {
  try {
    return [...compute()];
  } catch (error) {
    if (error instanceof Undecided) return undefined;
    throw error;
  }
}
const much = () => new Work(200_000);

describe("sets of requests", () => {
  test("a rule matches the requests that the interpreter says", () => {
    fc.assert(
      fc.property(policies, plainRequests, contexts, (policy, request, { place, mesh }) => {
        const found = matchesOf(policy, place, mesh).some((match) => isMatched(match, requestOf(request)));
        assert.equal(found, isMatchedPlainly(policy, request, place, mesh));
      }),
      { numRuns: 6_000 },
    );
  });

  test("an example of a rule is matched by it, and a rule without an example by nothing", () => {
    fc.assert(
      fc.property(policies, plainRequests, contexts, (policy, request, { place, mesh }) => {
        for (const match of matchesOf(policy, place, mesh)) {
          const boxes = [...inside(everyRequest, match, much())];
          for (const box of boxes) {
            const example = plainOf(box.example, request);
            assert.ok(isMatchedPlainly(policy, example, place, mesh), JSON.stringify(example));
          }
          if (boxes.length === 0) assert.ok(!isMatched(match, requestOf(request)));
        }
      }),
      { numRuns: 1_500 },
    );
  });

  test("the difference of two policies has what one matches and the other does not", () => {
    let decided = 0;
    let runs = 0;
    fc.assert(
      fc.property(fc.tuple(policies, policies), plainRequests, contexts, ([one, other], request, { place, mesh }) => {
        const others = matchesOf(other, place, mesh);
        const boxes = boxesOf(() =>
          matchesOf(one, place, mesh)
            .flatMap((match) => [...inside(everyRequest, match, much())])
            .flatMap((box) => [...outside(box, others, much())]),
        );
        runs++;
        if (boxes === undefined) return;
        decided++;
        for (const box of boxes) {
          const example = plainOf(box.example, request);
          assert.ok(isMatchedPlainly(one, example, place, mesh), JSON.stringify(example));
          assert.ok(!isMatchedPlainly(other, example, place, mesh), JSON.stringify(example));
        }
        const isIn = boxes.some((box) => isMet(box.clauses, requestOf(request)));
        const isDue = isMatchedPlainly(one, request, place, mesh) && !isMatchedPlainly(other, request, place, mesh);
        assert.equal(isIn, isDue);
      }),
      { numRuns: 1_500 },
    );
    assert.ok(decided > runs * 0.95, `${decided} of ${runs} were decided`);
  });

  test("the complement of the complement is the same", () => {
    fc.assert(
      fc.property(policies, plainRequests, contexts, (policy, request, { place, mesh }) => {
        const matches = matchesOf(policy, place, mesh);
        const complement = boxesOf(() => outside(everyRequest, matches, much()));
        if (complement === undefined) return;
        const asMatches = complement.map(({ clauses }) => ({ conditions: clauses, sources: [[]], operations: [[]] }));
        const twice = boxesOf(() => outside(everyRequest, asMatches, much()));
        if (twice === undefined) return;
        const isIn = twice.some((box) => isMet(box.clauses, requestOf(request)));
        assert.equal(isIn, isMatchedPlainly(policy, request, place, mesh));
      }),
      { numRuns: 500 },
    );
  });
});
