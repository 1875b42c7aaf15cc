import assert from "node:assert/strict";
import { test } from "node:test";
import { readObject } from "../../../src/kube/object.ts";
import { definitionsFor, isChosenByAge } from "../../../src/mesh/traffic/definition-choice.ts";
import { defaultMeshSettings } from "../../../src/view/settings.ts";

const service = (exportTo = "") =>
  readObject("Service", {
    kind: "Service",
    metadata: { name: "x", namespace: "shop", annotations: { "networking.istio.io/exportTo": exportTo } },
  });
const entry = (namespace: string, exportTo: readonly string[] = []) =>
  readObject("ServiceEntry", {
    kind: "ServiceEntry",
    metadata: { name: "x", namespace },
    spec: { hosts: ["x.shop.svc.cluster.local"], exportTo },
  });

const chosen = (client: string, ...definitions: Parameters<typeof definitionsFor>[1]) =>
  definitionsFor(client, definitions, defaultMeshSettings).map(({ kind, metadata }) => `${kind} ${metadata.namespace}`);

test("what is defined in the namespace of the clients takes precedence, then a Service", () => {
  assert.deepEqual(chosen("web", entry("web"), service()), ["ServiceEntry web"]);
  assert.deepEqual(chosen("other", entry("web"), service()), ["Service shop"]);
  assert.deepEqual(chosen("other", entry("web"), entry("stage")), ["ServiceEntry web", "ServiceEntry stage"]);
});

test("a ServiceEntry in the namespace of the Service adds its endpoints", () => {
  const both = ["ServiceEntry shop", "Service shop"];
  assert.deepEqual(chosen("shop", entry("shop"), service()), both);
  assert.deepEqual(chosen("other", entry("shop"), service()), both);
});

test("what is not exported to the clients does not count", () => {
  assert.deepEqual(chosen("web", entry("web", ["other"]), service()), ["Service shop"]);
  assert.deepEqual(chosen("other", entry("web"), service(".")), ["ServiceEntry web"]);
  assert.deepEqual(chosen("other", entry("web", ["."]), service("~")), []);
});

test("age decides between ServiceEntries only for clients of other namespaces, and not where one is exported by name", () => {
  const isByAge = (a: Parameters<typeof isChosenByAge>[0], b: Parameters<typeof isChosenByAge>[0]) => [
    isChosenByAge(a, b, defaultMeshSettings),
    isChosenByAge(b, a, defaultMeshSettings),
  ];
  assert.deepEqual(isByAge(entry("a"), entry("b")), [true, true]);
  assert.deepEqual(isByAge(entry("a"), entry("b", ["."])), [false, false]);
  assert.deepEqual(isByAge(entry("a"), entry("b", ["c"])), [false, false]);
  assert.deepEqual(isByAge(entry("a", ["c"]), entry("b", ["c", "d"])), [true, true]);
  assert.deepEqual(isByAge(entry("a", ["b"]), entry("b", ["."])), [false, false]);
  assert.deepEqual(isByAge(entry("a"), entry("a", ["."])), [true, true]);
  assert.deepEqual(isByAge(entry("a", ["~"]), entry("a")), [false, false]);
});
