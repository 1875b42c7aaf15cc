import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Scene, validate, wishing } from "./wishing-rules.ts";

const flux = { user: "system:serviceaccount:flux-system:kustomize-controller" };
const rules = [{ id: "test-advice", mode: "off" as const }];
const scene: Scene = {
  spec: {
    reconcilers: { users: ["system:serviceaccount:flux-system:*"], fieldManagers: ["helm"] },
    breakGlass: { groups: ["sre"] },
    rules,
  },
};
const withUid = (wishes: Record<string, string>, annotations: Record<string, string> = {}) => {
  const object = wishing(wishes, annotations);
  return { ...object, metadata: { ...(object["metadata"] as object), uid: "u-1" } };
};
const regarding = {
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  namespace: "shop",
  name: "web",
  uid: "u-1",
};

describe("what only warned a reconciler", () => {
  const needs = { object: withUid({ needs: "edge" }) };

  test("is an Event on the object that it sent", () => {
    assert.deepEqual(validate({ ...needs, ...flux }, scene).events, [
      {
        reason: "ReconcilerWarned",
        rule: "test-relational",
        note: 'test-relational: Gateway "edge" does not exist. The change was admitted because "system:serviceaccount:flux-system:kustomize-controller" may still apply the missing objects; it would be denied for a person. Fix: Do it right.',
        regarding,
      },
    ]);
  });

  test("is one Event, however often one rule finds it", () => {
    const events = validate({ object: withUid({ needs: "edge,core,back" }), ...flux }, scene).events ?? [];
    assert.equal(events.length, 1);
    assert.match(events[0]?.note ?? "", /\(and 2 more problems of this rule\)/);
  });

  test("is none in a dry run, for a person, for istiod, for a mere warning, or where the change is denied", () => {
    const spec = { ...scene.spec, rules: [...rules, { id: "test-relational", mode: "warn" as const }] };
    for (const decision of [
      validate({ ...needs, ...flux, dryRun: true }, scene),
      validate({ ...needs, dryRun: true }, scene),
      validate({ ...needs, user: "system:serviceaccount:istio-system:istiod" }, scene),
      validate({ ...needs, ...flux }, { spec }),
      validate({ object: withUid({ needs: "edge", wrong: "a" }), ...flux }, scene),
      validate({ object: withUid({}), ...flux }, scene),
    ])
      assert.equal(decision.events, undefined);
  });

  test("fits into an Event, in one printable line", () => {
    const name = `${"\u00fc".repeat(3_000)}\n\u001b[31m`;
    const [event] = validate({ object: withUid({ needs: name }), ...flux }, scene).events ?? [];
    assert.ok(event !== undefined);
    assert.ok(Buffer.byteLength(event.note) <= 1_024, String(Buffer.byteLength(event.note)));
    assert.doesNotMatch(event.note, /[\n\u001b]/);
  });
});

describe("a use of break glass", () => {
  const glass = { "meshward.io/break-glass": "incident 7" };
  const broken = { object: withUid({ wrong: "a", needs: "edge" }, glass), groups: ["sre"] };

  test("is an Event that says who, why and what it let through", () => {
    assert.deepEqual(validate(broken, scene).events, [
      {
        reason: "BreakGlassUsed",
        rule: "",
        note: '"alice" used break glass ("incident 7"): CREATE was admitted despite 2 problems (test-intrinsic, test-relational)',
        regarding,
      },
    ]);
  });

  test("is none in a dry run, where nothing would be denied, or where it is refused", () => {
    for (const decision of [
      validate({ ...broken, dryRun: true }, scene),
      validate({ ...broken, object: withUid({}, glass) }, scene),
      validate({ ...broken, groups: [] }, scene),
    ])
      assert.equal(decision.events, undefined);
  });

  test("on a deletion it is about what goes", () => {
    const there = [{ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", annotations: glass } }];
    const decision = validate({ oldObject: withUid({ guard: "yes" }), groups: ["sre"] }, { ...scene, there });
    assert.deepEqual(
      decision.events?.map((event) => [event.reason, event.regarding.name]),
      [["BreakGlassUsed", "web"]],
    );
    assert.match(decision.events?.[0]?.note ?? "", /: DELETE was admitted/);
  });
});
