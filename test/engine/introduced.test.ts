import assert from "node:assert/strict";
import test from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { defineRule } from "../../src/engine/rule.ts";
import { type AnyObject, type ObjectOf, readAny } from "../../src/kube/object.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, relation } from "../../src/view/view.ts";

// introduced = after - before, as a counted multiset of what findings are known by.

const hostsAreMistakes = defineRule({
  id: "virtual-service-weights-not-100",
  subject: "VirtualService",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "",
  why: "",
  fix: "",
  *check({ spec }) {
    for (const [i, host] of spec.hosts.entries()) {
      const [key, message] = host.split(":") as [string, string | undefined];
      yield { at: ["spec", "hosts", i], message: message ?? key, ...(message === undefined ? {} : { key }) };
    }
  },
});

const virtualService = (hosts: readonly string[]): ObjectOf<"VirtualService"> =>
  readAny({
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name: "a", namespace: "a" },
    spec: { hosts },
  }) as ObjectOf<"VirtualService">;

const cases: readonly [string, readonly string[] | undefined, readonly string[], readonly boolean[]][] = [
  ["what is created is new", undefined, ["a", "a"], [true, true]],
  ["what was there is not", ["a", "b"], ["b", "a"], [false, false]],
  ["a second mistake like the first is", ["a"], ["a", "a"], [false, true]],
  ["one of two put right", ["a", "a"], ["a"], [false]],
  ["one put right does not pay for another", ["a"], ["b"], [true]],
  ["the key counts, the message does not", ["a:one", "a:two"], ["a:three", "a:four", "a:five"], [false, false, true]],
];
for (const [what, before, after, expected] of cases)
  test(what, () => {
    const old = before && virtualService(before);
    const { findings } = judge([hostsAreMistakes], new MeshStore(defaultMeshSettings), [
      { old, object: virtualService(after) },
    ]);
    assert.deepEqual(
      findings.map(({ introduced }) => introduced),
      expected,
    );
  });

test("a rule that checks and compares: a new object is checked, and a comparison says what existed before", () => {
  const both = defineRule({
    ...hostsAreMistakes,
    subject: "VirtualService",
    reads: [],
    *check() {
      yield { at: [], message: "checked" };
    },
    *compare() {
      yield { at: [], message: "compared" };
      yield { at: [], message: "was there", existed: true };
    },
  });
  const found = (old: AnyObject | undefined) =>
    judge([both], new MeshStore(defaultMeshSettings), [{ old, object: virtualService(["b"]) }]).findings.map(
      ({ message, introduced }) => [message, introduced],
    );
  assert.deepEqual(found(undefined), [["checked", true]]);
  assert.deepEqual(found(virtualService(["a"])), [
    ["compared", true],
    ["was there", false],
  ]);
});

test("an object that is the same on both sides of its change is evaluated, because others change with it", () => {
  const unchanged = virtualService(["b"]);
  const other = readAny({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "b", namespace: "a" },
    spec: { ports: [{ port: 80 }] },
  }) as AnyObject;
  const services = relation(
    "services",
    index("VirtualService", ({ metadata }) => [metadata.namespace]),
    index("Service", ({ metadata }) => [metadata.namespace]),
  );
  const needsService = defineRule({
    id: "virtual-service-destination-not-found",
    subject: "VirtualService",
    reads: [services],
    mode: "deny",
    since: "0.1.0",
    summary: "",
    why: "",
    fix: "",
    *check(route, mesh) {
      if (mesh.related(services, route).length === 0) yield { at: [], message: "no Service" };
    },
  });
  const changes = [
    { old: unchanged, object: unchanged },
    { old: other, object: undefined },
  ];
  const before = new MeshStore(defaultMeshSettings);
  before.set(unchanged);
  before.set(other);
  assert.deepEqual(
    judge([needsService], before, changes).findings.map(({ message, introduced }) => [message, introduced]),
    [["no Service", true]],
  );
});
