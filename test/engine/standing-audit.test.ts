import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit, type AuditResults, StandingAudit } from "../../src/engine/audit.ts";
import { judge, type RuleError, type Skip } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { Budget } from "../../src/engine/budget.ts";
import { everyRule, selectionOf } from "../../src/engine/setting.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { FrozenMesh } from "../../src/view/frozen.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { anObject, someObjects, twoControlPlanes } from "../meshes/arbitrary.ts";

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 600);

const textOf = ({ findings, errors, skipped }: AuditResults): string => {
  for (const { error } of errors) throw error;
  const lines = findings.map(({ rule, subject, at, message, fix, onlyWarns, setting }) =>
    [rule.id, identityOf(subject), at.join("."), message, fix, onlyWarns, setting.mode, setting.policy].join(" | "),
  );
  return [...lines, ...skipped.map(({ rule, unknown }) => `${rule.id} needs ${unknown}`)].sort().join("\n");
};

const policies = loadPolicies([], rules, "strict").policies;
const selection = selectionOf(policies);
/** Every evaluation is followed by a pause. */
const impatient = () => {
  let now = 0;
  return new Budget({ limitMs: Number.POSITIVE_INFINITY, sliceMs: 0, cpuMs: () => now++ });
};

function ended<T>(steps: Generator<void, T>, between: () => void = () => undefined): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    between();
  }
}

function auditOf(store: MeshStore): string {
  const audit = new StandingAudit(rules);
  ended(audit.everything({ mesh: store, selection, budget: impatient() }));
  return textOf(ended(audit.results()));
}

interface Edit {
  readonly object: AnyObject;
  readonly isDeletion: boolean;
}
const edits = fc.array(fc.record({ object: anObject, isDeletion: fc.boolean() }), { minLength: 1, maxLength: 6 });

function apply({ object, isDeletion }: Edit, store: MeshStore): void {
  if (isDeletion) store.delete(object.kind, keyOf(object));
  else store.set(object);
}

const settings = fc.constantFrom(defaultMeshSettings, twoControlPlanes);

/** What `meshward audit` finds, rule after rule. */
function listed(store: MeshStore): string {
  const results: { findings: Finding[]; errors: RuleError[]; skipped: Skip[] } = {
    findings: [],
    errors: [],
    skipped: [],
  };
  for (const one of audit(rules, store, selection))
    if (!("subject" in one)) results.skipped.push(one);
    else if ("error" in one) results.errors.push(one);
    else results.findings.push(one);
  return textOf(results);
}

describe("without Services", () => {
  const id = "destination-rule-never-used";
  const ofHost = (host: string): AnyObject => {
    const metadata = { name: host.replaceAll(".", "-"), namespace: "shop" };
    const rule = readAny({ apiVersion: "networking.istio.io/v1", kind: "DestinationRule", metadata, spec: { host } });
    assert.ok(rule);
    return rule;
  };
  const outside = ofHost("api.example.com");
  const [within, alsoWithin] = [ofHost("cart"), ofHost("prices")];
  const storeOf = (...objects: readonly AnyObject[]) => {
    const store = new MeshStore(defaultMeshSettings, new Map([["Service", "unknown"]]));
    for (const object of objects) store.set(object);
    return store;
  };

  test("a rule is skipped once for all DestinationRules for Services, and judges the others", () => {
    const store = storeOf(outside, within, alsoWithin);
    for (const text of [auditOf(store), listed(store)]) {
      const ofRule = text.split("\n").filter((line) => line.includes(id));
      assert.equal(ofRule.filter((line) => line === `${id} needs Service`).length, 1, text);
      assert.equal(ofRule.length, 2, text);
    }
    const changes = [outside, within, alsoWithin].map((object) => ({ object }));
    const { findings, skipped } = judge(
      rules.filter((rule) => rule.id === id),
      storeOf(),
      changes,
      { selection },
    );
    assert.deepEqual(
      findings.map(({ subject }) => subject.metadata.name),
      [outside.metadata.name],
    );
    assert.deepEqual(
      skipped.map(({ rule, unknown }) => [rule.id, unknown]),
      [[id, "Service"]],
    );
  });

  test("it is not skipped where no DestinationRule is for a Service", () => {
    const store = storeOf(outside);
    for (const text of [auditOf(store), listed(store)]) assert.doesNotMatch(text, /never-used needs/);
  });
});

describe("an audit that is kept up to date", () => {
  test("begins with what an audit of the command finds", () => {
    let found = 0;
    fc.assert(
      fc.property(someObjects(), settings, (objects, known) => {
        const store = new MeshStore(known);
        for (const object of objects) store.set(object);
        const standing = auditOf(store);
        found += standing.length;
        assert.equal(standing, listed(store));
      }),
      { numRuns },
    );
    assert.ok(found > 0, "nothing was ever found: the law was not tried");
  });

  test("has after any changes the results of an audit from the beginning", () => {
    let touched = 0;
    fc.assert(
      fc.property(someObjects(), edits, edits, settings, (objects, first, second, known) => {
        const store = new MeshStore(known);
        for (const object of objects) store.set(object);
        const audit = new StandingAudit(rules);
        let before = new FrozenMesh(store);
        ended(audit.everything({ mesh: before.mesh, selection, budget: impatient() }));
        for (const some of [first, second]) {
          for (const edit of some) apply(edit, store);
          const now = new FrozenMesh(store);
          const changes = ended(before.changesTo(now.mesh));
          touched += ended(audit.changed(changes, before.mesh, { mesh: now.mesh, selection, budget: impatient() }));
          before.release();
          before = now;
          assert.equal(textOf(ended(audit.results())), auditOf(store));
        }
      }),
      { numRuns },
    );
    assert.ok(touched > 0, "no change ever touched anything: the law was not tried");
  });

  test("is not disturbed by changes while it runs, and learns of them afterwards", () => {
    fc.assert(
      fc.property(someObjects(), edits, edits, (objects, during, again) => {
        const store = new MeshStore(defaultMeshSettings);
        for (const object of objects) store.set(object);
        const audit = new StandingAudit(rules);
        const start = auditOf(store);
        const before = new FrozenMesh(store);
        const waiting = [...during];
        ended(audit.everything({ mesh: before.mesh, selection, budget: impatient() }), () => {
          const next = waiting.shift();
          if (next !== undefined) apply(next, store);
        });
        assert.equal(textOf(ended(audit.results())), start);

        const now = new FrozenMesh(store);
        const then = auditOf(store);
        const more = [...again];
        const steps = audit.changed(ended(before.changesTo(now.mesh)), before.mesh, {
          mesh: now.mesh,
          selection,
          budget: impatient(),
        });
        ended(steps, () => {
          const next = more.shift();
          if (next !== undefined) apply(next, store);
        });
        assert.equal(textOf(ended(audit.results())), then);
      }),
      { numRuns },
    );
  });

  test("keeps its previous results if it is interrupted", () => {
    const store = new MeshStore(defaultMeshSettings);
    fc.sample(someObjects(), { numRuns: 20, seed: 7 })
      .flat()
      .forEach((object) => store.set(object));
    const audit = new StandingAudit(rules);
    const pass = { mesh: store, selection, budget: impatient() };
    ended(audit.everything(pass));
    const known = textOf(ended(audit.results()));
    assert.notEqual(known, "");
    audit.everything(pass).next();
    assert.equal(textOf(ended(audit.results())), known);
  });

  test("reports a rule that needs too much time for one object, and evaluates the others", () => {
    const store = new MeshStore(defaultMeshSettings);
    fc.sample(someObjects(), { numRuns: 5, seed: 7 })
      .flat()
      .forEach((object) => store.set(object));
    const [slow, quick] = rules.filter(({ check, subject }) => check !== undefined && subject.join() === "Namespace");
    assert.ok(slow !== undefined && quick !== undefined);
    let now = 0;
    const stuck = {
      ...slow,
      *check() {
        for (;;) {
          now += 1;
          yield undefined;
        }
      },
    };
    let evaluated = 0;
    const counting = {
      ...quick,
      *check() {
        evaluated++;
        yield undefined;
      },
    };
    const audit = new StandingAudit([stuck, counting]);
    ended(
      audit.everything({
        mesh: store,
        selection: everyRule,
        budget: new Budget({ limitMs: 1000, sliceMs: 1, cpuMs: () => now }),
      }),
    );
    const namespaces = [...store.all("Namespace")].length;
    assert.ok(namespaces > 0);
    const { errors } = ended(audit.results());
    assert.equal(errors.length, namespaces);
    assert.match(String(errors[0]?.error), /needs more than 1000 ms/);
    assert.equal(evaluated, namespaces);
  });
});
