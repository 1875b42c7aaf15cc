import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Budget, BudgetExceeded } from "../../src/engine/budget.ts";
import { judge, judging } from "../../src/engine/evaluate.ts";
import { defineRule, type Rule } from "../../src/engine/rule.ts";
import { readAny, readObject } from "../../src/kube/object.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, relation } from "../../src/view/view.ts";

/** A thread that computes one millisecond each time that somebody looks at its clock. */
function ticking() {
  let ms = 0;
  return () => ms++;
}
const limits = (limitMs: number, sliceMs = 1_000) => ({ limitMs, sliceMs, cpuMs: ticking() });

const siblings = relation(
  "siblings",
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
);
const looking = (id: string, rounds: number): Rule =>
  defineRule({
    id,
    subject: "VirtualService",
    reads: [siblings],
    mode: "deny",
    since: "0.1.0",
    summary: "",
    why: "",
    fix: "",
    *check(object, mesh) {
      let seen = 0;
      for (let round = 0; round < rounds; round++) seen += mesh.related(siblings, object).length;
      if (seen < rounds) yield { at: [], message: "never" };
    },
  });
const object = (name: string) => readObject("VirtualService", { metadata: { name, namespace: "shop" } });
function shop(count: number): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings);
  for (let i = 0; i < count; i++) mesh.set(object(`x${i}`));
  return mesh;
}
const change = [{ object: object("new") }];

describe("a budget", () => {
  test("small work reads the clock once, at its beginning", () => {
    let looks = 0;
    const budget = new Budget({ limitMs: 1, sliceMs: 1, cpuMs: () => looks++ });
    for (let i = 0; i < 100; i++) budget.spend(5);
    assert.deepEqual([looks, budget.isSliceOver()], [1, false]);
  });

  test("is used up by problems that a rule finds without visiting anything", () => {
    const endless = defineRule({
      id: "virtual-service-endless",
      subject: "VirtualService",
      reads: [],
      mode: "deny",
      since: "0.1.0",
      summary: "",
      why: "",
      fix: "",
      *check() {
        for (let i = 0; ; i++) yield { at: [], message: `problem ${i}` };
      },
    });
    const { findings, errors } = judge([endless], shop(1), change, { budget: new Budget(limits(3)) });
    assert.deepEqual(findings, []);
    assert.ok(errors[0]?.error instanceof BudgetExceeded);
  });

  test("is used up by objects that are visited, and says by how much it is bounded", () => {
    const budget = new Budget(limits(3));
    assert.throws(() => {
      for (;;) budget.spend(100);
    }, new BudgetExceeded(3));
    assert.match(new BudgetExceeded(3).message, /needs more than 3 ms of CPU time, the limit for one review/);
  });

  test("where visits cost much, the clock is read after fewer of them, so that no slice becomes long", () => {
    let ms = 0;
    const budget = new Budget({ limitMs: 1_000_000, sliceMs: 15, cpuMs: () => ms });
    const slices: number[] = [];
    let start = 0;
    for (let visits = 0; visits < 10_000; visits++) {
      ms += visits < 1_000 ? 0.001 : 0.2;
      if (!budget.isSliceOver()) continue;
      slices.push(ms - start);
      budget.suspend();
      budget.resume();
      start = ms;
    }
    // What the first expensive visits cost is seen at the next reading only.
    assert.ok(slices.length > 50);
    assert.ok(Math.max(...slices.slice(1)) < 18, `${Math.max(...slices.slice(1))} ms`);
  });

  test("what others do between two slices does not count", () => {
    let ms = 0;
    const budget = new Budget({ limitMs: 10, sliceMs: 4, cpuMs: () => ms });
    const work = () => {
      ms += 4;
      budget.spend(1_000);
    };
    work();
    assert.equal(budget.isSliceOver(), true);
    budget.suspend();
    ms += 1_000;
    budget.resume();
    assert.equal(budget.isSliceOver(), false);
    work();
    budget.suspend();
    budget.resume();
    assert.throws(work, BudgetExceeded);
  });

  test("nothing counts after its end", () => {
    const budget = new Budget(limits(1));
    budget.end();
    for (let i = 0; i < 100; i++) budget.spend(10_000);
  });
});

describe("a review over its budget", () => {
  test("names the rule that used it up and those that had no turn, and keeps what was found before", () => {
    const found = defineRule({
      ...looking("a-finds", 0),
      subject: "VirtualService",
      reads: [],
      check: () => [{ at: [], message: "wrong" }],
    });
    const rules = [found, looking("b-loops", 1_000_000), looking("c-waits", 1)];
    const { findings, errors } = judge(rules, shop(10), change, { budget: new Budget(limits(5)) });
    assert.deepEqual(
      findings.map(({ rule }) => rule.id),
      ["a-finds"],
    );
    assert.deepEqual(
      errors.map(({ rule, error }) => [rule.id, error instanceof BudgetExceeded]),
      [
        ["b-loops", true],
        ["c-waits", true],
      ],
    );
  });

  test("pauses after each slice, and finds what it finds without pauses", () => {
    const rules = [looking("a-looks", 50)];
    const mesh = shop(200);
    const steps = judging(rules, mesh, change, {
      budget: new Budget({ limitMs: 1_000_000, sliceMs: 1, cpuMs: ticking() }),
    });
    let pauses = 0;
    for (let step = steps.next(); !step.done; step = steps.next()) pauses++;
    assert.ok(pauses > 10, String(pauses));
  });

  test("a change of mesh settings builds no index in one step, however many objects there are", () => {
    let entered = 0;
    const counting = relation(
      "counting",
      index("VirtualService", ({ metadata }) => [metadata.name]),
      index("DestinationRule", ({ metadata }) => {
        entered++;
        return [metadata.name];
      }),
    );
    const rule = defineRule({
      id: "virtual-service-counting",
      subject: "VirtualService",
      reads: [counting],
      mode: "deny",
      since: "0.1.0",
      summary: "",
      why: "",
      fix: "",
      *check(one, mesh) {
        if (mesh.related(counting, one).length > 1) yield { at: [], message: "never" };
      },
    });
    const most = [1_000, 4_000].map((count) => {
      const mesh = shop(1);
      for (let i = 0; i < count; i++)
        mesh.set(readObject("DestinationRule", { metadata: { name: `x${i}`, namespace: "shop" } }));
      const data = { mesh: 'defaultDestinationRuleExportTo: ["."]' };
      const config = readAny({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "istio", namespace: "istio-system" },
        data,
      });
      assert.ok(config);
      // The mesh before the change has all indexes.
      for (const one of [counting.from, counting.to]) mesh.lookup(one, []);
      const steps = judging([rule], mesh, [{ object: config }], {});
      const inSteps: number[] = [];
      for (let isDone = false; !isDone; ) {
        entered = 0;
        isDone = steps.next().done === true;
        inSteps.push(entered);
      }
      assert.equal(
        inSteps.reduce((sum, one) => sum + one, 0),
        count,
      );
      return Math.max(...inSteps);
    });
    assert.ok(most[0] !== undefined && most[0] > 0 && most[0] < 1_000, `${most[0]} in a step`);
    assert.equal(most[1], most[0]);
  });

  test("pauses within one rule's work for one object, between two problems and where the rule yields nothing", () => {
    const rule = defineRule({
      ...looking("virtual-service-pausing", 0),
      subject: "VirtualService",
      reads: [],
      *check(_, mesh) {
        for (let i = 0; i < 200; i++) {
          mesh.visited(1_000);
          if (i % 2 === 0) yield;
          else yield { at: [i], message: `problem ${i}` };
        }
      },
    });
    const steps = judging([rule], shop(1), change, {
      budget: new Budget({ limitMs: 1_000_000, sliceMs: 1, cpuMs: ticking() }),
    });
    let pauses = 0;
    let step = steps.next();
    for (; !step.done; step = steps.next()) pauses++;
    assert.deepEqual(
      step.value.findings.map(({ message }) => message),
      Array.from({ length: 100 }, (_, i) => `problem ${2 * i + 1}`),
    );
    assert.ok(pauses >= 200, String(pauses));
  });

  test("a step that is too long ends the review, although its budget is not used up", () => {
    const rules = [looking("a-loops", 1_000_000), looking("b-waits", 1)];
    const { errors } = judge(rules, shop(10), change, {
      budget: new Budget({ limitMs: 1_000_000, sliceMs: 1, stepMs: 20, cpuMs: ticking() }),
    });
    const text = /one step of the review needs more than 20 ms of CPU time, the limit for one step/;
    assert.deepEqual(
      errors.map(({ rule, error }) => [rule.id, error instanceof BudgetExceeded && text.test(error.message)]),
      [
        ["a-loops", true],
        ["b-waits", true],
      ],
    );
  });
});
