import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { loadPolicies } from "../../src/policy/load.ts";
import { protectorsOf } from "../../src/policy/protection.ts";
import { rules } from "../../src/rules/index.ts";

const policy = (name: string, protectedNamespaces: object) => ({
  file: `${name}.yaml`,
  locate: () => ({ line: 1, column: 1 }),
  raw: {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardPolicy",
    metadata: { name },
    spec: { protectedNamespaces },
  },
});
const { policies, errors } = loadPolicies(
  [
    policy("ours", { names: ["pay*", "billing"] }),
    policy("tier", { names: ["billing"], labels: { tier: "1", a: "b" } }),
  ],
  rules,
);

test("each document that protects a namespace is named, with what it protects it by", () => {
  assert.deepEqual(errors, []);
  assert.deepEqual(protectorsOf("payments", {}, policies), [
    { policy: "MeshwardPolicy ours", by: "name", matched: "pay*" },
  ]);
  assert.deepEqual(
    protectorsOf("billing", { "meshward.io/protected": "true", tier: "1", a: "b" }, policies).map(
      ({ policy, by, matched }) => `${policy} ${by} ${matched}`,
    ),
    [
      "MeshwardPolicy ours name billing",
      "MeshwardPolicy tier name billing",
      "MeshwardPolicy tier label tier=1, a=b",
      "profile baseline label meshward.io/protected=true",
    ],
  );
  assert.deepEqual(protectorsOf("shop", { tier: "1" }, policies), []);
});

test("a namespace has a protector exactly where the policies protect it", () => {
  const name = fc.constantFrom("payments", "billing", "shop", "pay", "");
  const labels = fc.dictionary(
    fc.constantFrom("tier", "a", "meshward.io/protected"),
    fc.constantFrom("1", "b", "true"),
  );
  fc.assert(
    fc.property(name, labels, (name, labels) => {
      const isProtected = policies.protectsByName(name) || policies.protectsByLabels(labels);
      assert.equal(protectorsOf(name, labels, policies).length > 0, isProtected);
    }),
  );
});
