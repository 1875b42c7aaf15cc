import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isShownBy, type PendingChange, PendingChanges } from "../../src/admission/pending-changes.ts";
import { identityOf, namespaceKey } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { subjectOf } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const wait = async () => undefined;

function service(metadata: object, name = "shop"): AnyObject {
  const object = readAny({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "shop", ...metadata } });
  assert.ok(object);
  return object;
}
function meshOf(...objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return mesh;
}

describe("a pending change is shown by a view", () => {
  const at = (resourceVersion: string, more = {}) => service({ uid: "u1", resourceVersion, ...more });
  const other = service({ uid: "u2", resourceVersion: "30" });
  const created = service({ uid: "u1" });
  const deleting = { deletionTimestamp: "2026-11-26T07:00:00Z" };
  const creation = { old: undefined, object: created };
  const update = { old: at("9"), object: at("9") };
  const deletion = { old: at("9"), object: undefined };
  const cases: readonly [string, PendingChange["change"], AnyObject | undefined, AnyObject | undefined, boolean][] = [
    ["a creation that has not arrived", creation, undefined, undefined, false],
    ["a creation that has arrived", creation, undefined, at("10"), true],
    ["a creation after which somebody else created the object", creation, undefined, other, true],
    ["a creation, while the view still has the deleted object before it", creation, other, other, false],
    ["an update that has not arrived", update, at("9"), at("9"), false],
    ["an update, while the view has an older version: 10 is later than 9", update, at("8"), at("8"), false],
    ["an update that has arrived", update, at("9"), at("10"), true],
    ["an update of an object that was created anew since", update, at("9"), other, true],
    ["an update of an object that is gone", update, at("9"), undefined, true],
    ["an update of an object that the view has never had", update, undefined, undefined, false],
    ["a deletion that has not arrived", deletion, at("9"), at("9"), false],
    ["a deletion that has arrived", deletion, at("9"), undefined, true],
    ["a deletion that waits for finalizers", deletion, at("9"), at("10", deleting), true],
    ["a deletion, while another update has arrived", deletion, at("9"), at("10"), false],
    ["a deletion of an object that was created anew since", deletion, at("9"), other, true],
  ];
  for (const [title, change, replaced, there, expected] of cases)
    test(title, () => {
      const pending = { identity: identityOf(subjectOf(change)), change, admittedAt: 0, replaced };
      assert.equal(isShownBy(pending, meshOf(...(there === undefined ? [] : [there]))), expected);
    });
  test("versions that are no numbers are later if they differ", () => {
    const pending = { identity: "", change: { old: at("a"), object: at("a") }, admittedAt: 0, replaced: at("a") };
    assert.deepEqual([isShownBy(pending, meshOf(at("a"))), isShownBy(pending, meshOf(at("b")))], [false, true]);
  });
});

describe("pending changes", () => {
  test("are laid over the view until it shows them", () => {
    const pending = new PendingChanges({ wait });
    const mesh = meshOf();
    const object = service({ uid: "u1" });
    pending.add({ object }, mesh);
    const before = pending.over(mesh, "");
    assert.equal(before.mesh.find("Service", "shop/shop"), object);
    assert.deepEqual(
      [...before.read].map(({ identity }) => identity),
      ["Service shop/shop"],
    );
    mesh.set(service({ uid: "u1", resourceVersion: "10" }));
    assert.equal(pending.over(mesh, "").mesh, mesh);
    assert.equal(pending.size, 1);
    pending.forget(mesh);
    assert.equal(pending.size, 0);
  });

  test("are read only if an answer of the view depends on them", () => {
    const pending = new PendingChanges({ wait });
    const mesh = meshOf(service({ uid: "u2", resourceVersion: "5" }, "other"));
    pending.add({ object: service({ uid: "u1" }) }, mesh);
    const { mesh: view, read } = pending.over(mesh, "");
    assert.ok(view.find("Service", "shop/other"));
    assert.equal(view.find("Service", "shop/absent"), undefined);
    assert.equal(read.size, 0);
    assert.equal([...view.all("Service")].length, 2);
    assert.equal(read.size, 1);
  });

  test("are read with the Namespace that only they imply", () => {
    const pending = new PendingChanges({ wait });
    const mesh = meshOf();
    pending.add({ object: service({ uid: "u1" }) }, mesh);
    const { mesh: view, read } = pending.over(mesh, "");
    assert.equal(view.find("Namespace", namespaceKey("shop"))?.implied, true);
    assert.equal(read.size, 1);
  });

  test("do not hide the object that is reviewed", () => {
    const pending = new PendingChanges({ wait });
    const object = service({ uid: "u1" });
    pending.add({ object }, meshOf());
    const mesh = meshOf();
    assert.equal(pending.over(mesh, identityOf(object)).mesh, mesh);
  });

  test("are bounded in number and time, and the last change of an object counts", () => {
    let now = 1_000;
    const pending = new PendingChanges({ wait, now: () => now, most: 3, keepMs: 10 });
    const mesh = meshOf();
    for (const name of ["a", "b", "a", "c", "d"]) pending.add({ object: service({ uid: name }, name) }, mesh);
    const names = () => [...pending.over(mesh, "").mesh.all("Service")].map(({ metadata }) => metadata.name);
    assert.deepEqual(names(), ["a", "c", "d"]);
    now += 11;
    pending.forget(mesh);
    assert.deepEqual([pending.size, names()], [0, []]);
    assert.equal(pending.mark, 5);
  });

  test("are neither changes of mesh settings nor of objects whose name is not known yet", () => {
    const pending = new PendingChanges({ wait });
    const config = readAny({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "istio", namespace: "istio-system" },
      data: { mesh: "trustDomain: other" },
    });
    pending.add({ object: config }, meshOf());
    pending.add({ object: service({ generateName: "shop-" }, "") }, meshOf());
    assert.equal(pending.size, 0);
  });
});
