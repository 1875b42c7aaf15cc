import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf, type Question } from "../../src/explain/explanation.ts";
import { findTarget, type Target } from "../../src/explain/target.ts";
import { readTargetName } from "../../src/explain/target-name.ts";
import { allKinds } from "../../src/kube/kinds.ts";
import { type AnyObject, readObject } from "../../src/kube/object.ts";
import { captureEvidence } from "../../src/mesh/membership/capture-evidence.ts";
import { captureOf } from "../../src/mesh/membership/capture.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { differenceOf } from "../../src/report/explanation-difference.ts";
import { textExplanation } from "../../src/report/explanation-text.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Knowledge } from "../../src/view/view.ts";
import { someObjects, twoControlPlanes } from "../meshes/arbitrary.ts";

const { policies } = loadPolicies([], rules);

function meshOf(
  objects: readonly AnyObject[],
  knowledge: Knowledge = "complete",
  settings = defaultMeshSettings,
): MeshStore {
  const mesh = new MeshStore(settings, new Map(allKinds.map((kind) => [kind, knowledge])));
  for (const object of objects) mesh.set(object);
  return mesh;
}
const explained = (target: Target, mesh: MeshStore, question: Question = "now") =>
  explanationOf(target, { mesh, policies, selection: selectionOf(policies), rules }, question);

const targets: readonly Target[] = [
  { kind: "namespace", name: "a" },
  { kind: "namespace", name: "istio-system" },
  { kind: "workload", originKind: "Deployment", namespace: "a", name: "x" },
  { kind: "host", host: "x.a.svc.cluster.local", from: "b" },
  { kind: "host", host: "ext.example.com", from: "a" },
  { kind: "host", host: "*.a.svc.cluster.local", from: "a" },
  { kind: "gateway", namespace: "a", name: "x" },
];

/** Objects whose specs are anything at all: their readers keep what has the right type. */
const oddObject = fc
  .record({
    kind: fc.constantFrom(...allKinds),
    namespace: fc.constantFrom("a", "b", "istio-system"),
    name: fc.constantFrom("x", "y", "__proto__"),
    labels: fc.anything({ maxDepth: 1 }),
    spec: fc.anything({ maxDepth: 4, withNullPrototype: false }),
  })
  .map(({ kind, spec, ...metadata }) => readObject(kind, { metadata, spec }));

test("whatever a mesh holds, and however little is known of it, it is explained", () => {
  fc.assert(
    fc.property(
      fc.tuple(someObjects(), fc.array(oddObject, { maxLength: 6 })),
      fc.constantFrom<Knowledge>("complete", "assumed", "partial", "unknown"),
      fc.constantFrom(...targets),
      fc.constantFrom(defaultMeshSettings, twoControlPlanes),
      ([objects, odd], knowledge, target, settings) => {
        const mesh = meshOf([...objects, ...odd], knowledge, settings);
        for (const question of ["now", "strict", "ambient"] as const) {
          const explanation = explained(target, mesh, question);
          const text = textExplanation(explanation, { colour: false });
          assert.doesNotMatch(text, /undefined|\[object|NaN/);
          assert.deepEqual(differenceOf(explanation.lines, explanation.lines), []);
        }
      },
    ),
  );
});

test("reads through relations: no kind is gone through as a whole", () => {
  fc.assert(
    fc.property(someObjects(), fc.constantFrom(...targets), (objects, target) => {
      const mesh = meshOf(objects);
      // Indexes are built where they are first asked for, which is the store's own business.
      mesh.all = () => assert.fail("scanned");
      assert.ok(explained(target, mesh).title !== "");
    }),
  );
});

test("the order of the objects does not matter", () => {
  fc.assert(
    fc.property(someObjects(), fc.constantFrom(...targets), (objects, target) => {
      const text = (mesh: MeshStore) => textExplanation(explained(target, mesh), { colour: false });
      assert.equal(text(meshOf(objects.toReversed())), text(meshOf(objects)));
    }),
  );
});

test("words of any kind are read, or one line says what is wrong with them", () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "namespace/a",
      "host",
      "deployment/a/x",
      "service/a/x",
      "workload",
      "constructor",
      "__proto__/a/x",
      "gateway/a/x",
    ),
  );
  fc.assert(
    fc.property(word, fc.option(word, { nil: undefined }), someObjects(), (what, name, objects) => {
      const asked = readTargetName({ what, name, namespace: "a", from: undefined });
      const sought = "problem" in asked ? asked : findTarget(asked, meshOf(objects));
      if ("problem" in sought) assert.match(sought.problem, /\S/);
      else assert.ok(explained(sought.target, meshOf(objects)).lines.length > 0);
    }),
  );
});

test("what a capture rests on is said for every combination of labels", () => {
  const value = fc.constantFrom(undefined, "true", "false", "ambient", "none", "enabled", "disabled", "odd", "");
  const labels = (keys: readonly string[]) =>
    fc
      .tuple(...keys.map(() => value))
      .map((values) =>
        Object.fromEntries(keys.flatMap((key, i) => (values[i] === undefined ? [] : [[key, values[i]]]))),
      );
  const podKeys = ["istio.io/dataplane-mode", "sidecar.istio.io/inject", "istio.io/rev"];
  const namespaceKeys = ["istio.io/dataplane-mode", "istio-injection", "istio.io/rev"];
  fc.assert(
    fc.property(
      labels(podKeys),
      labels(namespaceKeys),
      fc.constantFrom("shop", "kube-system"),
      fc.boolean(),
      (pod, own, name, hostNetwork) => {
        const metadata = { name, labels: own };
        const namespace = readObject("Namespace", { kind: "Namespace", metadata });
        const workload = readObject("Workload", {
          kind: "Deployment",
          metadata: { namespace: name, name: "x" },
          spec: { template: { metadata: { labels: pod }, spec: { hostNetwork } } },
        });
        const capture = captureOf(workload, namespace, defaultMeshSettings);
        const evidence = captureEvidence(workload, { namespace, settings: defaultMeshSettings }, capture);
        assert.match(evidence, /\S/);
        const named = [...evidence.matchAll(/([\w./-]+)=([\w]*)/g)].map(([, key = "", value]) => [key, value]);
        const from = evidence.includes("of the pod") ? pod : own;
        for (const [key = "", value] of named) assert.equal(from[key], value, evidence);
        if (capture === "ambient" || capture === "sidecar") assert.ok(named.length > 0, `${capture}: ${evidence}`);
      },
    ),
  );
});

test("with several control planes, it is said which one configures a namespace or a workload, and what that one reads", () => {
  const namespace = (labels: Record<string, string>) =>
    readObject("Namespace", { kind: "Namespace", metadata: { name: "a", labels } });
  const policy = (revision: string) =>
    readObject("PeerAuthentication", {
      kind: "PeerAuthentication",
      metadata: { name: revision, namespace: "a", labels: { "istio.io/rev": revision } },
      spec: { mtls: { mode: "STRICT" } },
    });
  const hidden = {
    ...twoControlPlanes,
    seen: true,
    discovery: { other: [{ matchLabels: { a: "b" }, matchExpressions: [] }] },
  };
  const linesOf = (labels: Record<string, string>, settings = { ...twoControlPlanes, seen: true }) => {
    const mesh = meshOf([namespace(labels), policy("default"), policy("other")], "complete", settings);
    const all = explained({ kind: "namespace", name: "a" }, mesh).lines;
    const own = all.filter(({ key }) => key === "controlPlane").map(({ text }) => text);
    const counting = all.flatMap(({ lines = [] }) =>
      lines.filter(({ key, counts }) => key === "mtls.policy" && counts !== false),
    );
    return [...own, ...counting.flatMap(({ objects = [] }) => objects.map(({ metadata }) => metadata.name))];
  };
  assert.deepEqual(linesOf({ "istio-injection": "enabled" }), [
    "Control plane of its sidecars: revision default",
    "default",
  ]);
  assert.deepEqual(linesOf({ "istio.io/rev": "tag" }), [
    "Control plane of its sidecars: revision other (tag tag)",
    "other",
  ]);
  assert.deepEqual(linesOf({ "istio.io/rev": "nobody" }).slice(0, 1), [
    "Control plane of its sidecars: none: there is neither a control plane nor a tag for revision nobody, so new pods get no sidecar",
  ]);
  assert.deepEqual(linesOf({ "istio.io/dataplane-mode": "ambient" }), [
    "Control plane of ztunnel: revision default",
    "default",
  ]);
  assert.deepEqual(linesOf({ "istio.io/rev": "other" }, hidden), [
    "Control plane of its sidecars: revision other; its discoverySelectors do not select this namespace, so policies, routes and Services in it have no effect",
  ]);
  assert.deepEqual(linesOf({ "istio-injection": "enabled" }, { ...defaultMeshSettings, seen: true }), ["default"]);
});
