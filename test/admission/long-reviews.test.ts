import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import type { Decision } from "../../src/admission/review.ts";
import { defineRule } from "../../src/engine/rule.ts";
import { readAny } from "../../src/kube/object.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, relation } from "../../src/view/view.ts";
import { reviewed } from "./requests.ts";
import { intrinsic, policiesOf, wishing } from "./wishing-rules.ts";

// A review that takes long gives way to others, is bounded, and sees one state of the mesh.

const siblings = relation(
  "siblings",
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
);
/** Judges every sibling, and takes as many looks as its annotation says. */
const slow = defineRule({
  id: "test-slow",
  subject: "VirtualService",
  reads: [siblings],
  mode: "deny",
  since: "0.1.0",
  summary: "s",
  why: "w",
  fix: "f",
  *check(object, mesh) {
    const looks = Number(object.metadata.annotations["test/looks"] ?? 0);
    const before = mesh.related(siblings, object).length;
    for (let i = 0; i < looks; i++) mesh.related(siblings, object);
    if (mesh.related(siblings, object).length !== before) yield { at: [], message: "The mesh changed" };
  },
});

function scene(limitMs: number, spec = {}) {
  const mesh = new MeshStore(defaultMeshSettings);
  const add = (name: string, looks = 0) => {
    const raw = wishing(looks > 0 ? { looks: String(looks) } : {});
    const object = readAny({ ...raw, metadata: { ...(raw["metadata"] as object), name } });
    assert.ok(object);
    mesh.set(object);
  };
  for (let i = 0; i < 20; i++) add(`s${i}`, 200);
  let ms = 0;
  let held = 0;
  const waiting: (() => void)[] = [];
  const gate = createGate({
    mesh: () => mesh,
    rules: [intrinsic, slow],
    policies: () => policiesOf(spec),
    pacing: {
      limitMs,
      sliceMs: 2,
      cpuMs: () => ms++,
      pause: () => new Promise<void>((resolve) => void waiting.push(resolve)),
      hold: () => {
        held++;
        return () => held--;
      },
    },
  });
  const goOn = async () => {
    while (waiting.length > 0) {
      waiting.shift()?.();
      await Promise.resolve();
      await Promise.resolve();
    }
  };
  return { gate, goOn, waiting, held: () => held };
}
const long = (name = "web") => {
  const raw = wishing({ looks: "1000" });
  return reviewed({ object: { ...raw, metadata: { ...(raw["metadata"] as object), name } } });
};
const short = reviewed({
  object: {
    ...wishing({ wrong: "a" }),
    metadata: { ...(wishing({ wrong: "a" })["metadata"] as object), namespace: "other" },
  },
  namespace: "other",
});

describe("a long review", () => {
  test("gives way: a short one is answered at once meanwhile, and the mesh is held", async () => {
    const { gate, goOn, waiting, held } = scene(1_000_000);
    const answer = gate.validate(long());
    assert.ok(answer instanceof Promise);
    assert.deepEqual([waiting.length, held()], [1, 1]);
    const between = gate.validate(short) as Decision;
    assert.equal(between.outcome, "deny");
    await goOn();
    assert.equal((await answer).outcome, "allow");
    assert.equal(held(), 0);
  });

  test("is alone: a second one begins when the first is done", async () => {
    const { gate, goOn, waiting } = scene(1_000_000);
    const first = gate.validate(long());
    const second = gate.validate(long("other"));
    assert.equal(waiting.length, 1);
    let isSecondDone = false;
    const whenSecond = Promise.resolve(second).then((decision) => {
      isSecondDone = true;
      return decision;
    });
    await goOn();
    assert.equal((await first).outcome, "allow");
    assert.equal(isSecondDone, false);
    for (let i = 0; i < 50; i++) await goOn();
    assert.equal((await whenSecond).outcome, "allow");
  });

  test("is denied at once if too many others of its user wait", async () => {
    const { gate } = scene(1_000_000);
    for (let i = 0; i < 97; i++) void gate.validate(long(`v-${i}`));
    const decision = await gate.validate(long("last"));
    assert.deepEqual([decision.allowed, decision.outcome], [false, "error"]);
    assert.match(
      decision.message ?? "",
      /too many changes of this user that need a long evaluation are waiting; try again/,
    );
  });

  test("of a user with another one that waits is not begun before its turn, but those of others are", async () => {
    const { gate, goOn } = scene(1_000_000);
    const all = [gate.validate(long("a")), gate.validate(long("b"))];
    const own = gate.validate(short);
    assert.ok(own instanceof Promise);
    const others = gate.validate({ ...short, user: { name: "somebody-else", groups: [] } }) as Decision;
    assert.equal(others.outcome, "deny");
    for (let i = 0; i < 100; i++) await goOn();
    assert.equal((await own).outcome, "deny");
    for (const one of all) assert.equal((await one).outcome, "allow");
  });

  test("over its budget it is denied, and the rule is named in the answer and for the metrics", async () => {
    const { gate, goOn } = scene(10);
    const answer = gate.validate(long());
    await goOn();
    const decision = await answer;
    assert.equal(decision.outcome, "error");
    assert.match(
      decision.message ?? "",
      /^- \[test-slow\] The rule was not evaluated: the review needs more than 10 ms of CPU time, the limit for one review$/m,
    );
    assert.match(decision.message ?? "", /Fix: Split the change/);
    assert.deepEqual(decision.ruleErrors, [{ rule: "test-slow", reason: "budget" }]);
  });

  test("of the root namespace has four times the budget", async () => {
    const outcomeIn = async (namespace: string) => {
      const { gate, goOn } = scene(10);
      const raw = wishing({ looks: "7000" });
      const answer = gate.validate(
        reviewed({ object: { ...raw, metadata: { ...(raw["metadata"] as object), namespace } }, namespace }),
      );
      await goOn();
      return (await answer).outcome;
    };
    assert.deepEqual([await outcomeIn("elsewhere"), await outcomeIn("istio-system")], ["error", "allow"]);
  });

  test("over its budget it warns where a policy says onError: warn", async () => {
    const { gate, goOn } = scene(10, { rules: [{ id: "test-slow", onError: "warn" }] });
    const answer = gate.validate(long());
    await goOn();
    const decision = await answer;
    assert.deepEqual([decision.allowed, decision.outcome], [true, "warn"]);
    assert.match(
      decision.warnings.join("\n"),
      /\[test-slow\] The rule was not evaluated: the review needs more than 10 ms of CPU time/,
    );
    assert.match(decision.warnings.join("\n"), /because a policy sets onError: warn for this rule/);
  });

  test("over its budget it is denied where only a policy for its own namespace says onError: warn", async () => {
    const match = { namespaces: { names: ["shop", "a", "default"] } };
    const { gate, goOn } = scene(10, { match, rules: [{ id: "test-slow", onError: "warn" }] });
    const answer = gate.validate(long());
    await goOn();
    assert.deepEqual([(await answer).allowed, (await answer).outcome], [false, "error"]);
  });
});
