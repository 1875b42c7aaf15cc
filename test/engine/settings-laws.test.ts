import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit } from "../../src/engine/audit.ts";
import { isJudgedBy, judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { findingsFor } from "../../src/engine/problems.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { allSubjects } from "../../src/engine/subjects.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import type { Change } from "../../src/view/overlay.ts";
import { type AllMeshSettings, changedSettings, defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { otherSettings, settingsVersions, someObjects } from "../meshes/arbitrary.ts";

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);

function build(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) mesh.set(object);
  return mesh;
}

const textOf = ({ rule, subject, at, message }: Finding) =>
  `${rule.id} | ${identityOf(subject)} | ${at.join(".")} | ${message}`;

function audited(mesh: Mesh): readonly string[] {
  const lines: string[] = [];
  for (const result of audit(rules, mesh)) {
    if ("error" in result) throw result.error;
    if ("message" in result) lines.push(textOf(result));
  }
  return lines.sort();
}

/** What is introduced if each rule evaluates each object, in two meshes that have nothing in common. */
function introducedBetween(old: MeshStore, now: MeshStore, only: Change): readonly string[] {
  const [before, after] = [sideOf(old), sideOf(now)];
  const settings = everyRule.between(before, after);
  const lines: string[] = [];
  for (const rule of rules)
    for (const subject of allSubjects(rule, after)) {
      if (!isJudgedBy(rule, subject)) continue;
      const by = { rule, subject, setting: settings.of(rule, subject) };
      const steps = findingsFor(by, before.find(subject.kind, keyOf(subject)), {
        ...{ before, after, only, budget: undefined, mostAlone: undefined },
      });
      const step = steps?.next();
      assert.ok(step === undefined || step.done === true);
      lines.push(...(step?.value ?? []).filter(({ introduced }) => introduced).map(textOf));
    }
  return lines.sort();
}

/** Without it, a review assumes the namespace of the changed object on both sides. */
const istioNamespace = readObject("Namespace", { metadata: { name: "istio-system" } });

/** The first one of each identity. */
const distinct = (objects: readonly AnyObject[]) => [
  ...new Map(objects.toReversed().map((object) => [identityOf(object), object])).values(),
];

const operations = fc.constantFrom("create", "update", "update", "update", "delete");
const worlds = fc
  .tuple(someObjects(), otherSettings, settingsVersions, operations)
  .map(([objects, others, [first, second], operation]) => {
    const change: Change = {
      ...(operation !== "create" && { old: first }),
      ...(operation !== "delete" && { object: second }),
    };
    const beside = [...objects, ...others, istioNamespace].filter((one) => identityOf(one) !== identityOf(first));
    return { rest: distinct(beside), change };
  });

describe("a change of what settings of the mesh come from", () => {
  test("introduces what an evaluation of everything introduces, and leaves the mesh that has the new settings", () => {
    const differed = new Set<string>();
    let [narrowed, introduced] = [0, 0];
    fc.assert(
      fc.property(worlds, ({ rest, change }) => {
        const [old, now] = [change.old, change.object].map((one) => build(one === undefined ? rest : [...rest, one]));
        assert.ok(old !== undefined && now !== undefined);
        const { findings, errors, before, after } = judge(rules, old, [change]);
        for (const { error } of errors) throw error;
        const found = findings
          .filter((one) => one.introduced)
          .map(textOf)
          .sort();
        assert.deepEqual(found, introducedBetween(old, now, change));
        assert.deepEqual({ ...after.settings }, { ...now.settings });
        assert.deepEqual(audited(before), audited(old));
        assert.deepEqual(audited(after), audited(now));
        const changed = changedSettings(before.settings, after.settings);
        if (changed !== "everything" && changed.size > 0) narrowed++;
        introduced += found.length;
        for (const name of Object.keys(defaultMeshSettings) as (keyof AllMeshSettings)[])
          if (JSON.stringify(before.settings[name]) !== JSON.stringify(after.settings[name])) differed.add(name);
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
    // No object contains the domain of the cluster.
    const all = Object.keys(defaultMeshSettings).filter((name) => name !== "domain");
    assert.deepEqual([...differed].sort(), all.sort());
    assert.ok(narrowed > 0 && introduced > 0, "the law was not tried");
  });
});
