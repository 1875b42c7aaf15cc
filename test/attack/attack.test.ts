import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loadPolicies } from "../../src/policy/load.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { rules } from "../../src/rules/index.ts";
import { Cluster } from "./cluster.ts";
import { attacks, type Due, objectsOf, type Way, type World } from "./ways.ts";

const worlds = {
  sidecars: objectsOf("sidecars"),
  ambient: objectsOf("ambient"),
  waypoints: objectsOf("waypoints"),
};
const baseline = policiesOf("baseline");
const strict = policiesOf("strict");

for (const [kind, ways] of attacks)
  describe(kind, () => {
    for (const way of ways) for (const world of way.in ?? (["sidecars"] as const)) tryWay(way, world);
  });

test("the suite has at least 150 ways, and a reason for each that is open", () => {
  const ways = [...attacks.values()].flat();
  assert.ok(ways.length >= 150, String(ways.length));
  const unexplained = ways.filter(({ due, because }) => due === "open" && because === undefined);
  assert.deepEqual(unexplained, []);
});

function tryWay(way: Way, world: World): void {
  test(`${way.way} (${world})`, () => {
    assertDue(way.due, outcomeOf(way, world, baseline), way.by);
  });
  if (way.due === "warned")
    test(`${way.way} (${world}), profile strict`, () => {
      assertDue(way.strict ?? "denied", outcomeOf(way, world, strict), way.by);
    });
  for (const [i, steps] of (way.harmless ?? []).entries())
    test(`${way.way} (${world}), harmless ${i + 1}`, () => {
      assert.equal(outcomeOf({ ...way, do: steps }, world, baseline).denied, undefined);
    });
}

interface Outcome {
  /** The message of the first denial. */
  readonly denied: string | undefined;
  readonly warnings: readonly string[];
}

function outcomeOf(way: Way, world: World, policies: Policies): Outcome {
  const cluster = new Cluster(worlds[world], way.givenUnder === undefined ? policies : baseline);
  for (const step of way.given ?? []) {
    const { allowed, message } = cluster.request(step);
    assert.ok(allowed, `the given step ${JSON.stringify(step)} is denied: ${message ?? ""}`);
  }
  cluster.follow(policies);
  const warnings: string[] = [];
  for (const step of way.do) {
    const decision = cluster.request(step);
    if (!decision.allowed) return { denied: decision.message ?? "", warnings };
    warnings.push(...decision.warnings);
  }
  return { denied: undefined, warnings };
}

function assertDue(due: Due, { denied, warnings }: Outcome, by: string | undefined): void {
  const found = denied === undefined ? `allowed, with the warnings:\n${warnings.join("\n")}` : `denied:\n${denied}`;
  const isSaid = (text: string): boolean => by === undefined || text.includes(`[${by}]`);
  if (due === "denied") assert.ok(denied !== undefined && isSaid(denied), `expected a denial, found: ${found}`);
  else if (due === "warned") {
    assert.ok(by !== undefined, "a warning has a rule");
    assert.ok(denied === undefined && warnings.some(isSaid), `expected a warning of ${by}, found: ${found}`);
  } else assert.ok(denied === undefined && !warnings.some(isSaid), `expected nothing, found: ${found}`);
}

function policiesOf(profile: "baseline" | "strict"): Policies {
  const { policies, errors } = loadPolicies([], rules, profile);
  assert.deepEqual(errors, []);
  return policies;
}
