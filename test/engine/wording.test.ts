import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { defineRule } from "../../src/engine/rule.ts";
import { readObject } from "../../src/kube/object.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { fact, forWording, index, relation } from "../../src/view/view.ts";

const servicesBeside = relation(
  "servicesBeside",
  index("VirtualService", ({ metadata }) => [metadata.namespace]),
  index("Service", ({ metadata }) => [metadata.namespace]),
);
const countOfServices = fact(
  "countOfServices",
  "VirtualService",
  [servicesBeside],
  (object, mesh) => mesh.related(servicesBeside, object).length,
);

const texts = { mode: "warn", since: "0.1.0", summary: "", why: "", fix: "" } as const;
const ruleWith = (count: typeof countOfServices) =>
  defineRule({
    id: "virtual-service-beside",
    subject: "VirtualService",
    reads: [count],
    ...texts,
    *check(object, mesh) {
      yield { at: [], key: "always", message: `beside ${mesh.get(count, object)} Services` };
    },
  });

const metadata = { namespace: "a", name: "x" };
const virtualService = readObject("VirtualService", { metadata });
const service = readObject("Service", { metadata });

function found(count: typeof countOfServices, object: typeof virtualService | typeof service): readonly string[] {
  const mesh = new MeshStore(defaultMeshSettings);
  mesh.set(virtualService);
  const old = object === virtualService ? virtualService : undefined;
  return judge([ruleWith(count)], mesh, [{ old, object }]).findings.map(({ message }) => message);
}

test("a change of what a fact reads concerns the objects whose problems depend on the fact", () => {
  assert.deepEqual(found(countOfServices, service), ["beside 1 Services"]);
});

test("a change of what a fact for wording reads concerns no other object, and the object itself reads it", () => {
  assert.deepEqual(found(forWording(countOfServices), service), []);
  assert.deepEqual(found(forWording(countOfServices), virtualService), ["beside 0 Services"]);
});
