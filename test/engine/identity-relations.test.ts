import assert from "node:assert/strict";
import test from "node:test";
import { present } from "../../src/engine/evidence.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { defineRule } from "../../src/engine/rule.ts";
import { idOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, type ObjectOf, readAny } from "../../src/kube/object.ts";
import type { Change } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { index, relation } from "../../src/view/view.ts";

// A relation that shows only which objects there are leads only from keys that a change adds or removes.

const judgedServices: string[] = [];
const routedHosts = relation(
  "routedHosts",
  index("Service", ({ metadata }) => [metadata.name]),
  index("VirtualService", ({ spec }) => spec.hosts),
  "identity",
);
const routed = defineRule({
  id: "kubernetes-service-routed",
  subject: "Service",
  reads: [routedHosts],
  mode: "deny",
  since: "0.1.0",
  summary: "",
  why: "",
  fix: "",
  *check(service, mesh) {
    judgedServices.push(service.metadata.name);
    for (const user of mesh.related(routedHosts, service))
      yield { at: [], message: `${idOf(present(user))} routes`, key: "routed", evidence: [present(user)] };
  },
});

const service = (name: string): AnyObject =>
  readAny({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "a" }, spec: {} }) as AnyObject;
const virtualService = (hosts: readonly string[], weight = 1, name = "routes"): ObjectOf<"VirtualService"> =>
  readAny({
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name, namespace: "a" },
    spec: { hosts, http: [{ route: [{ destination: { host: "one" }, weight }] }] },
  }) as ObjectOf<"VirtualService">;

/** The Services that the rule was asked about, on either side, and those with an introduced problem. */
function reached(stored: readonly AnyObject[], changes: readonly Change[]) {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of [service("one"), service("two"), service("three"), ...stored]) mesh.set(object);
  judgedServices.length = 0;
  const { findings } = judge([routed], mesh, changes);
  const introduced = findings.filter((one) => one.introduced).map(({ subject }) => subject.metadata.name);
  return { judged: [...new Set(judgedServices)].sort(), introduced: introduced.sort() };
}

const old = virtualService(["one", "two"]);
const update = (object: AnyObject): readonly Change[] => [{ old, object }];

test("an update that leaves an object its keys reaches nothing", () => {
  assert.deepEqual(reached([old], update(virtualService(["one", "two"], 2))), { judged: [], introduced: [] });
  assert.deepEqual(reached([old], update(virtualService(["two", "one"], 2))), { judged: [], introduced: [] });
});

test("an update reaches what has a key that is new or gone", () => {
  const found = reached([old], update(virtualService(["two", "three"], 2)));
  assert.deepEqual(found, { judged: ["one", "three"], introduced: ["three"] });
});

test("a new object and one that goes reach all of their keys", () => {
  assert.deepEqual(reached([], [{ object: old }]), { judged: ["one", "two"], introduced: ["one", "two"] });
  assert.deepEqual(reached([old], [{ old }]), { judged: ["one", "two"], introduced: [] });
});

test("of several changes, each is followed by its own keys", () => {
  const other = virtualService(["three"], 1, "other");
  const changes = [...update(virtualService(["one", "two"], 2)), { object: other }];
  assert.deepEqual(reached([old], changes), { judged: ["three"], introduced: ["three"] });
});

test("an object that several changes name is followed by all keys of all its versions", () => {
  const next = virtualService(["one"], 2);
  const found = reached([old], [...update(next), { old: next, object: virtualService(["one"], 3) }]);
  assert.deepEqual(found.judged, ["one", "two"]);
});

test("an object that the view has in an older version is followed from the version of the request", () => {
  const stale = virtualService(["three"]);
  assert.equal(keyOf(stale), keyOf(old));
  const found = reached([stale], update(virtualService(["one", "two"], 2)));
  assert.deepEqual(found, { judged: [], introduced: [] });
});
