import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { unreachable } from "../../src/engine/declared-reads.ts";
import { identityOf, keyOf, namespaceKey } from "../../src/kube/identity.ts";
import { allKinds, type Kind } from "../../src/kube/kinds.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { type Change, observedOverlay, overlay, subjectOf } from "../../src/view/overlay.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { aMeshConfig, anObject, someObjects, twoControlPlanes } from "../meshes/arbitrary.ts";

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);

function build(objects: readonly AnyObject[], settings = defaultMeshSettings): MeshStore {
  const mesh = new MeshStore(meshSettingsOf(objects, settings));
  for (const object of objects) mesh.set(object);
  return mesh;
}

const textOf = ({ rule, subject, at, message, introduced }: Finding) =>
  `${rule.id} | ${identityOf(subject)} | ${at.join(".")} | ${message} | ${introduced ? "introduced" : "existing"}`;

function audited(mesh: Mesh, judging = rules): string {
  const lines: string[] = [];
  for (const result of audit(judging, mesh)) {
    if ("error" in result) throw result.error;
    if ("message" in result) lines.push(textOf(result));
  }
  return lines.sort().join("\n");
}

/** What counts: a rule with onlyOwnChanges judges nothing but the changed objects. */
function introducedBy(
  rules: readonly Rule[],
  mesh: Mesh,
  changes: readonly Change[],
  isScan = false,
): readonly Finding[] {
  const { findings, errors } = judge(rules, mesh, changes, { isScan });
  for (const { error } of errors) throw error;
  const own = new Set(changes.map((change) => identityOf(subjectOf(change))));
  return findings.filter(
    ({ introduced, rule, subject }) => introduced && (!rule.onlyOwnChanges || own.has(identityOf(subject))),
  );
}
const lines = (findings: readonly Finding[]) => findings.map(textOf).sort().join("\n");

function changeOf(mesh: Mesh, object: AnyObject, isDeletion: boolean): Change {
  const there = mesh.find(object.kind, keyOf(object));
  const old = there?.implied ? undefined : there;
  return isDeletion ? { old } : { old, object };
}
const without = (objects: readonly AnyObject[], gone: AnyObject) =>
  objects.filter((o) => identityOf(o) !== identityOf(gone));

const controlPlanes = fc.constantFrom(defaultMeshSettings, twoControlPlanes);
/** The mesh config of one control plane is created, changed or deleted, with or without another one. */
const changeOfMeshConfig = fc
  .record({
    old: fc.option(aMeshConfig()),
    next: fc.option(aMeshConfig()),
    other: fc.option(aMeshConfig("istio-other")),
  })
  .map(({ old, next, other }) => ({ old: old ?? undefined, next: next ?? undefined, other: other ?? undefined }))
  .filter(({ old, next }) => old !== undefined || next !== undefined);

describe("laws", () => {
  test("every relation is reachable from its rule's subject", () => {
    for (const rule of rules) assert.deepEqual(unreachable(rule), [], rule.id);
  });

  test("narrowing finds every introduced finding of a scan; an overlay is a rebuild; a store written is a rebuild", () => {
    let elsewhere = 0;
    fc.assert(
      fc.property(someObjects(), anObject, fc.boolean(), controlPlanes, (objects, next, isDeletion, settings) => {
        const mesh = build(objects, settings);
        const change = changeOf(mesh, next, isDeletion);
        if (change.old === undefined && change.object === undefined) return;
        const narrowed = introducedBy(rules, mesh, [change]);
        elsewhere += narrowed.filter(({ subject }) => identityOf(subject) !== identityOf(next)).length;
        assert.equal(lines(narrowed), lines(introducedBy(rules, mesh, [change], true)));
        const rebuilt = build([...without(objects, next), ...(isDeletion ? [] : [next])].reverse(), settings);
        assert.equal(audited(overlay(mesh, [change])), audited(rebuilt));
        if (isDeletion) mesh.delete(next.kind, keyOf(next));
        else mesh.set(next);
        assert.equal(audited(mesh), audited(rebuilt));
      }),
      { numRuns },
    );
    assert.ok(rules.length < 3 || elsewhere > 0, "no change ever concerned another object: the law was not tried");
  });

  test("other changes of which an observed overlay reports nothing make no difference", () => {
    let [same, read] = [0, 0];
    fc.assert(
      fc.property(someObjects(), anObject, anObject, fc.boolean(), (objects, first, second, isDeletion) => {
        const mesh = build(objects);
        const other = changeOf(mesh, first, isDeletion);
        const change = changeOf(mesh, second, false);
        if (subjectOf(other) === undefined || identityOf(first) === identityOf(second)) return;
        const seen = new Set<string>();
        const observed = observedOverlay(mesh, [other], (object) => seen.add(identityOf(object)));
        const expected = lines(judge(rules, observed, [change]).findings);
        assert.equal(expected, lines(judge(rules, overlay(mesh, [other]), [change]).findings));
        const own = [identityOf(first), `Namespace ${namespaceKey(first.metadata.namespace)}`];
        for (const identity of seen) assert.ok(own.includes(identity), identity);
        if (seen.size > 0) read++;
        else {
          same++;
          assert.equal(expected, lines(judge(rules, mesh, [change]).findings));
        }
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
    assert.ok(same > 0 && read > 0, "the law was not tried");
  });

  test("a change of mesh settings is judged as a rebuild", () => {
    fc.assert(
      fc.property(someObjects(), changeOfMeshConfig, (objects, { old, next, other }) => {
        const mesh = build([...objects, ...[old, other].filter((one) => one !== undefined)]);
        const { after, errors } = judge(rules, mesh, [{ old, object: next }]);
        for (const { error } of errors) throw error;
        const rebuilt = build([...objects, ...[next, other].filter((one) => one !== undefined)]);
        assert.deepEqual({ ...after.settings }, { ...rebuilt.settings });
        assert.equal(audited(after), audited(rebuilt));
      }),
      { numRuns: Math.ceil(numRuns / 5) },
    );
  });

  test("overlays nest", () => {
    fc.assert(
      fc.property(someObjects(), anObject, anObject, fc.boolean(), (objects, first, second, isDeletion) => {
        const mesh = build(objects);
        const one = overlay(mesh, [changeOf(mesh, first, false)]);
        const change = changeOf(one, second, isDeletion);
        if (change.old === undefined && change.object === undefined) return;
        const rest = without([...without(objects, first), first], second);
        assert.equal(audited(overlay(one, [change])), audited(build(isDeletion ? rest : [...rest, second])));
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
  });

  test("a view that lags behind the request gives the same answer", () => {
    fc.assert(
      fc.property(someObjects(), anObject, anObject, (objects, other, next) => {
        if (other.kind !== next.kind) return;
        const { name, namespace } = next.metadata;
        const stale = { ...other, metadata: { ...other.metadata, name, namespace } } as AnyObject;
        const fresh = build(objects);
        const change = changeOf(fresh, next, false);
        const lagging = build([...without(objects, next), stale]);
        assert.equal(lines(introducedBy(rules, lagging, [change])), lines(introducedBy(rules, fresh, [change])));
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
  });

  test("audit of a mesh is what admission would say of each of its objects", () => {
    fc.assert(
      fc.property(someObjects(8), (objects) => {
        const mesh = build(objects);
        // What a rule has two ways to judge, it compares in admission.
        const state = rules.filter((rule) => rule.check && !rule.compare);
        const said = new Set<string>();
        for (const object of objects)
          for (const finding of judge(state, build(without(objects, object)), [{ object }]).findings)
            if (finding.subject === object) said.add(textOf({ ...finding, introduced: false }));
        const isShown = (line: string) => objects.some((object) => line.includes(`| ${identityOf(object)} |`));
        const all = new Set(audited(mesh, state).split("\n").filter(isShown));
        assert.deepEqual([...said].sort(), [...all].sort());
      }),
      { numRuns: Math.ceil(numRuns / 5) },
    );
  });

  test("what stays as it is introduces nothing", () => {
    fc.assert(
      fc.property(someObjects(), (objects) => {
        const mesh = build(objects);
        for (const object of objects) {
          const again = { ...object, metadata: { ...object.metadata, resourceVersion: "2" } } as AnyObject;
          assert.equal(lines(introducedBy(rules, mesh, [{ old: object, object: again }])), "");
        }
      }),
      { numRuns: Math.ceil(numRuns / 5) },
    );
  });

  test("moving routes about, or putting right ones between them, introduces nothing", () => {
    const weight = fc.constantFrom(0, 30, 50, 70, 100);
    const route = fc
      .array(fc.record({ weight, destination: fc.record({ host: fc.constantFrom("x", "y") }) }), {
        minLength: 1,
        maxLength: 3,
      })
      .map((route) => ({ route }));
    // No route hides another one, wherever it stands, both hosts exist, and a default route takes what is left.
    const alone = (route: object, i: number | string) => ({ ...route, match: [{ uri: { exact: `/${i}` } }] });
    const right = alone({ route: [{ destination: { host: "x" }, weight: 100 }] }, "right");
    const services = ["x", "y"].map((name) =>
      readObject("Service", { kind: "Service", metadata: { name, namespace: "a" }, spec: { ports: [{ port: 80 }] } }),
    );
    const objectWith = (http: readonly unknown[]) =>
      readObject("VirtualService", {
        metadata: { name: "x", namespace: "a" },
        spec: { hosts: ["x"], http: [...http, { route: [{ destination: { host: "x" } }] }] },
      });
    let wrong = 0;
    fc.assert(
      fc.property(fc.array(route, { maxLength: 5 }), fc.nat(), fc.nat(5), (routes, turn, at) => {
        const http = routes.map(alone);
        const start = http.length === 0 ? 0 : turn % http.length;
        const turned: unknown[] = [...http.slice(start), ...http.slice(0, start)];
        const moved = turned.toSpliced(at, 0, right);
        const old = objectWith(http);
        const { findings } = judge(rules, build([...services, old]), [{ old, object: objectWith(moved) }]);
        wrong += findings.length;
        assert.equal(lines(findings.filter(({ introduced }) => introduced)), "");
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
    assert.ok(wrong > 0, "no route was ever wrong: the law was not tried");
  });

  test("no rule throws on arbitrary JSON", () => {
    const fields = [
      ...[
        "metadata",
        "spec",
        "name",
        "namespace",
        "labels",
        "annotations",
        "http",
        "tcp",
        "route",
        "destination",
        "host",
      ],
      ...[
        "weight",
        "subset",
        "hosts",
        "exportTo",
        "gateways",
        "selector",
        "matchLabels",
        "mtls",
        "mode",
        "portLevelMtls",
      ],
      ...["subsets", "rules", "from", "to", "when", "source", "operation", "principals", "targetRefs", "data", "mesh"],
      ...["template", "__proto__", "constructor", "app"],
    ];
    const json = fc.oneof(
      fc.jsonValue(),
      fc.object({ key: fc.constantFrom(...fields), maxDepth: 6, withNullPrototype: false }),
    );
    const kind = fc.constantFrom(...(allKinds as readonly [Kind, ...Kind[]]));
    fc.assert(
      fc.property(someObjects(6), kind, json, json, (objects, kind, spec, raw) => {
        for (const odd of [
          raw,
          { metadata: { name: "x", namespace: "a" }, spec },
          { spec: { http: raw, rules: raw } },
        ]) {
          const { malformed: _, ...object } = readObject(kind, odd);
          introducedBy(rules, build(objects), [{ object }]);
        }
      }),
      { numRuns },
    );
  });
});
