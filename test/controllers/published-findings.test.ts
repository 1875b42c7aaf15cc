import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { auditedFindings } from "../../src/controllers/audited-findings.ts";
import { reportsOf } from "../../src/controllers/policy-reports.ts";
import type { RuleError } from "../../src/engine/evaluate.ts";
import { findingOf } from "../../src/engine/finding.ts";
import { type Ruling, rulingsOf } from "../../src/engine/ruling.ts";
import { everyRule } from "../../src/engine/setting.ts";
import type { AnyObject } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { anObject } from "../meshes/arbitrary.ts";

const store = new MeshStore(defaultMeshSettings);
const settings = everyRule.between(store, store);
const [rule, ...others] = rules.filter(({ check }) => check !== undefined);
assert.ok(rule !== undefined);

const rulingsFor = (subjects: readonly AnyObject[]): readonly Ruling[] =>
  rulingsOf(
    subjects.flatMap((subject) =>
      [rule, ...others.slice(0, 5)].flatMap((by) =>
        ["one", "two"].map((message) =>
          findingOf({ at: [], message }, { rule: by, subject, setting: settings.of(by, subject) }, false),
        ),
      ),
    ),
    { after: store, exceptionFor: () => undefined },
  );

const contents = (errors: readonly RuleError[]) => {
  const steps = reportsOf({
    findings: [],
    errors,
    firstSeen: () => undefined,
    isOpen: () => true,
    pageOf: (id) => id,
  });
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
};

test("findings have one order, whatever the order in which a replica found them", async () => {
  const subjects = fc.uniqueArray(anObject, { maxLength: 8, selector: ({ metadata }) => metadata.name });
  const shuffled = subjects.chain((list) => {
    const rulings = rulingsFor(list);
    return fc.tuple(fc.constant(rulings), fc.shuffledSubarray([...rulings], { minLength: rulings.length }));
  });
  const ids = async (rulings: readonly Ruling[]) =>
    (await auditedFindings({ rulings }, () => Promise.resolve())).map(({ id }) => id);
  await fc.assert(
    fc.asyncProperty(shuffled, async ([rulings, other]) => {
      const found = await ids(rulings);
      assert.equal(found.length, rulings.filter(({ mode }) => mode !== "off").length);
      assert.deepEqual(await ids(other), found);
    }),
    { numRuns: 50 },
  );
});

test("reviews get their turn while the findings of a large mesh are put in order", async () => {
  const [subject] = fc.sample(anObject, { numRuns: 1, seed: 5 });
  assert.ok(subject !== undefined);
  const subjects = Array.from({ length: 1_500 }, (_, i) => ({
    ...subject,
    metadata: { ...subject.metadata, name: `one-${i}`, namespace: `team-${i % 40}` },
  })) as readonly AnyObject[];
  const rulings = rulingsFor(subjects);
  let turns = 0;
  const turn = async () => {
    turns++;
    await nextTurn();
  };
  const found = await auditedFindings({ rulings }, turn);
  const whileRead = Math.ceil(rulings.length / 100);
  assert.ok(turns >= whileRead + Math.floor(found.length / 2_000), `${turns} turns for ${found.length} findings`);
});

test("rules that failed have one order too, and objects of two kinds with one name are two results", () => {
  const [service, workload] = ["Service", "Workload"].map((kind) =>
    fc
      .sample(anObject, { numRuns: 500, seed: 3 })
      .find((object) => object.kind === kind && object.metadata.namespace !== ""),
  );
  assert.ok(service !== undefined && workload !== undefined);
  const metadata = { ...service.metadata, name: "web" };
  const errors = [service, workload].map((object) => {
    const subject = { ...object, metadata } as AnyObject;
    return { rule, subject, setting: settings.of(rule, subject), error: new Error("no") };
  });
  const [report, ...more] = contents(errors);
  assert.deepEqual(more, []);
  assert.equal(new Set(report?.results.map(({ properties }) => properties["resultID"])).size, 2);
  assert.deepEqual(contents(errors.toReversed()), [report]);
});
