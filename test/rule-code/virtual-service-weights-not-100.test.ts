import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { everyRule, type Selection } from "../../src/engine/setting.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { virtualServiceWeightsNot100 } from "../../src/rules/virtual-service/weights-not-100.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

// A rollback is never denied: traffic that moves back to the stable destination only warns.

type Weights = readonly (number | undefined)[];
const http = (weights: Weights, more: object = {}) => ({
  ...more,
  route: weights.map((weight, i) => ({ destination: { host: "cart", subset: `v${i + 1}` }, weight })),
});
const virtualService = (...routes: object[]) =>
  readAny({
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name: "cart", namespace: "shop" },
    spec: { hosts: ["cart"], http: routes },
  }) as AnyObject;

function modeOf(old: AnyObject | undefined, object: AnyObject, stable = ""): string {
  const mesh = new MeshStore(defaultMeshSettings);
  const selection: Selection = {
    between: (before, after) => ({
      ...everyRule.between(before, after),
      of: (rule, subject) => ({ ...everyRule.between(before, after).of(rule, subject), parameters: { stable } }),
    }),
  };
  const { findings, errors } = judge([virtualServiceWeightsNot100], mesh, [{ old, object }], { selection });
  assert.deepEqual(errors, []);
  return findings
    .map(({ introduced, onlyWarns }) => (introduced ? (onlyWarns === undefined ? "deny" : "warn") : "existing"))
    .join();
}

const cases: readonly [string, Weights, Weights, string, string?][] = [
  ["only one of two numbers is changed", [90, 10], [90, 20], "deny"],
  ["everything to the stable one, the canary's number forgotten", [90, 10], [100, 10], "warn"],
  ["a step back, the canary's number forgotten", [80, 20], [90, 20], "warn"],
  ["the stable number rises, its share falls", [90, 10], [91, 40], "deny"],
  ["a weight is lost", [90, 10], [90, undefined], "deny"],
  ["the canary's number falls alone", [90, 10], [90, 5], "deny"],
  ["a sum that was wrong, with other weights", [90, 20], [90, 30], "deny"],
  ["a sum that was wrong, with a step back", [90, 20], [100, 20], "warn"],
  ["a sum that stays as wrong as it was", [90, 20], [90, 20], "existing"],
  ["a sum that was wrong, the canary grows", [90, 20], [80, 30], "deny"],
  ["the canary is not the stable one", [90, 10], [90, 20], "deny", "v1"],
  ["the stable one is the second", [10, 90], [10, 100], "warn", "v2"],
  ["the stable one is named by host, which all of them have: the first counts", [90, 10], [95, 10], "warn", "cart"],
  ["nothing is called so", [90, 10], [100, 10], "deny", "v9"],
];
for (const [what, before, after, expected, stable] of cases)
  test(`${what}: ${expected}`, () => {
    assert.equal(modeOf(virtualService(http(before)), virtualService(http(after)), stable), expected);
  });

test("a new object has nothing to go back to", () => {
  assert.equal(modeOf(undefined, virtualService(http([100, 10]))), "deny");
});

test("among routes that look alike nobody can tell which one went back", () => {
  const before = virtualService(http([90, 10]), http([50, 50]));
  assert.equal(modeOf(before, virtualService(http([100, 10]), http([50, 50]))), "deny");
  const named = (weights: Weights) => virtualService(http(weights, { name: "a" }), http([50, 50], { name: "b" }));
  assert.equal(modeOf(named([90, 10]), named([100, 10])), "warn");
});
