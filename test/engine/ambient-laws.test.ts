import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import type { AnyObject } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import type { Change } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { anAmbientObject, anAmbientWorld } from "../meshes/ambient.ts";

// The laws of the engine over worlds in which ambient mode, waypoints and what leaves the mesh really meet.

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);

/** Every rule that reads about capture and waypoints, and the kinds of objects whose change makes it speak of others. */
const concerned: ReadonlySet<string> = new Set([
  "authorization-policy-bypasses-waypoint",
  "authorization-policy-not-enforced-l7",
  "authorization-policy-waypoint-locked-out",
  "namespace-enrolled-backs-webhook",
  "policy-selector-empty",
  "routes-need-waypoint",
  "waypoint-in-use",
  "waypoint-not-found",
]);
const byThemselves: ReadonlySet<string> = new Set([
  "namespace-dataplane-conflict",
  "namespace-leaves-mesh",
  "workload-leaves-mesh",
]);
const judged = rules.filter(({ id }) => concerned.has(id) || byThemselves.has(id));

function build(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return mesh;
}

const textOf = ({ rule, subject, at, message }: Finding) =>
  `${rule.id} | ${identityOf(subject)} | ${at.join(".")} | ${message}`;

function introducedBy(by: readonly Rule[], mesh: Mesh, changes: readonly Change[], isScan = false): readonly Finding[] {
  const { findings, errors } = judge(by, mesh, changes, { isScan });
  for (const { error } of errors) throw error;
  return findings.filter(({ introduced }) => introduced);
}
const lines = (findings: readonly Finding[]) => findings.map(textOf).sort().join("\n");

describe("ambient laws", () => {
  test("narrowing finds every introduced finding of a scan, and each rule is tried", () => {
    const elsewhere = new Map<string, number>();
    const own = new Map<string, number>();
    const count = (found: Map<string, number>, { id }: Rule) => found.set(id, (found.get(id) ?? 0) + 1);
    fc.assert(
      fc.property(anAmbientWorld, fc.nat(), anAmbientObject, fc.boolean(), (objects, at, other, isDeletion) => {
        const mesh = build(objects);
        const there = objects[at % objects.length] as AnyObject;
        const next = isDeletion ? there : other;
        const stored = mesh.find(next.kind, keyOf(next));
        const old = stored?.implied ? undefined : stored;
        const change: Change = isDeletion ? { old } : { old, object: next };
        const narrowed = introducedBy(judged, mesh, [change]);
        for (const { rule, subject } of narrowed)
          count(identityOf(subject) === identityOf(next) ? own : elsewhere, rule);
        assert.equal(lines(narrowed), lines(introducedBy(judged, mesh, [change], true)));
      }),
      // The rarest of them comes up ten times or so.
      { numRuns: numRuns * 3 },
    );
    for (const id of concerned)
      assert.ok((elsewhere.get(id) ?? 0) > 0, `no change ever made ${id} speak of another object`);
    for (const id of byThemselves) assert.ok((own.get(id) ?? 0) > 0, `${id} never found anything`);
  });

  test("the order of objects makes no difference", () => {
    fc.assert(
      fc.property(anAmbientWorld, anAmbientObject, (objects, next) => {
        const said = (order: readonly AnyObject[]) => {
          const mesh = build(order);
          const there = mesh.find(next.kind, keyOf(next));
          return lines(introducedBy(judged, mesh, [{ old: there?.implied ? undefined : there, object: next }]));
        };
        assert.equal(said(objects), said(objects.toReversed()));
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
  });
});
