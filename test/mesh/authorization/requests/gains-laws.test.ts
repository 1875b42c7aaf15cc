import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { ObjectOf } from "../../../../src/kube/object.ts";
import type { Place } from "../../../../src/mesh/authorization/requests/matches.ts";
import { plainOf, plainRequests, policies, settings } from "./arbitrary.ts";
import { Asked } from "../../../../src/mesh/authorization/requests/gains.ts";
import { applied, compare, type Gains } from "./compared.ts";
import { isAllowed } from "./interpreter.ts";

type AuthorizationPolicy = ObjectOf<"AuthorizationPolicy">;

const places: fc.Arbitrary<Place> = fc.constantFrom("http", "tcp", "ztunnel");
const contexts = fc.record({ place: places, mesh: settings });
const sides = fc.array(policies, { maxLength: 3 });

describe("who gains what by a change", () => {
  test("an example is refused before and accepted after, and without one nobody gains anything", () => {
    let [gaining, silent, undecided] = [0, 0, 0];
    fc.assert(
      fc.property(
        fc.tuple(sides, sides, sides),
        plainRequests,
        contexts,
        ([kept, gone, come], request, { place, mesh }) => {
          const [before, after] = [
            [...kept, ...gone],
            [...come, ...kept],
          ];
          const gains = compare(before, after, place, mesh);
          const found = [gains.denyLost, gains.widened, gains.opened].filter((gain) => gain !== undefined);
          for (const gain of found) {
            const example = plainOf(gain.request, request);
            assert.ok(!isAllowed(example, before, place, mesh), `accepted before: ${JSON.stringify(example)}`);
            assert.ok(isAllowed(example, after, place, mesh), `refused after: ${JSON.stringify(example)}`);
          }
          if (gains.isUndecided) undecided++;
          else if (found.length > 0) gaining++;
          else {
            silent++;
            assert.ok(isAllowed(request, before, place, mesh) || !isAllowed(request, after, place, mesh));
          }
        },
      ),
      { numRuns: 1_500 },
    );
    assert.ok(gaining > 150 && silent > 150 && undecided < 75, `${gaining}, ${silent}, ${undecided}`);
  });

  test("where no rule is new, nobody gains anything, whether proxies read HTTP or TCP", () => {
    let without = 0;
    const lists = fc.record({
      kept: sides,
      gone: sides,
      come: fc.array(policies, { maxLength: 1 }),
      copies: fc.nat(3),
    });
    fc.assert(
      fc.property(lists, plainRequests, settings, ({ kept, gone, come, copies }, request, mesh) => {
        const again = gone.slice(0, copies).map((policy) => ({ ...policy, spec: { ...policy.spec } }));
        const [before, after] = [
          [...kept, ...gone],
          [...again, ...come, ...kept],
        ];
        if (new Asked(applied(before, "http", mesh), applied(after, "http", mesh)).mayGainAnywhere) return;
        without++;
        for (const place of ["http", "tcp"] as const)
          assert.ok(isAllowed(request, before, place, mesh) || !isAllowed(request, after, place, mesh), place);
      }),
      { numRuns: 2_000 },
    );
    assert.ok(without > 200, `${without}`);
  });

  test("the order of policies, rules and lists does not matter", () => {
    const kindsOf = ({ opened, denyLost, widened }: Gains) =>
      [opened, denyLost, widened].map((one) => one !== undefined);
    const reversed = (policy: AuthorizationPolicy): AuthorizationPolicy => ({
      ...policy,
      spec: {
        ...policy.spec,
        rules: policy.spec.rules.toReversed().map(({ from, to, when }) => ({
          from: from.toReversed(),
          to: to.toReversed(),
          when: when.toReversed(),
        })),
      },
    });
    fc.assert(
      fc.property(sides, sides, places, (before, after, place) => {
        const one = compare(before, after, place);
        const other = compare(before.toReversed().map(reversed), after.toReversed().map(reversed), place);
        if (!one.isUndecided && !other.isUndecided) assert.deepEqual(kindsOf(one), kindsOf(other));
      }),
      { numRuns: 1_000 },
    );
  });
});
