import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FieldUse, keptOf } from "../../src/kube/kept-fields.ts";
import { readObject } from "../../src/kube/object.ts";

const use: fc.Arbitrary<FieldUse> = fc
  .array(fc.tuple(fc.array(fc.constantFrom("a", "b", "[]"), { maxLength: 3 }), fc.boolean()), { maxLength: 4 })
  .map((paths) => {
    const root = new FieldUse();
    for (const [path, isWhole] of paths) {
      let at = root;
      for (const step of path) at = step === "[]" ? at.item() : at.field(step);
      at.isWhole ||= isWhole;
    }
    return root;
  });
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom<unknown[]>(1, "x", null, true),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "b", "c", "__proto__"), tie("value")),
  ),
})).value;

test("a tree that covers another one keeps everything that it keeps", () => {
  fc.assert(
    fc.property(use, use, json, (one, other, value) => {
      const both = new FieldUse();
      both.add(one);
      both.add(other);
      assert.ok(both.covers(one) && both.covers(other));
      assert.deepEqual(keptOf(keptOf(value, both), one), keptOf(value, one));
    }),
    { numRuns: 1_000 },
  );
});

test("managed fields and the last applied manifest are never kept", () => {
  const whole = new FieldUse();
  whole.isWhole = true;
  const raw = {
    kind: "Service",
    metadata: {
      name: "a",
      managedFields: [{ manager: "kubectl" }],
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}", team: "a" },
    },
    spec: { ports: [] },
  };
  const { kept } = readObject("Service", raw, "shop", new Map([["Service", whole]]));
  assert.deepEqual(kept?.value, { ...raw, metadata: { name: "a", annotations: { team: "a" } } });
  assert.equal(readObject("Service", raw, "shop").kept, undefined);
});
