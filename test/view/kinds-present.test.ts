import assert from "node:assert/strict";
import { test } from "node:test";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { overlay } from "../../src/view/overlay.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

const networking = "networking.istio.io/v1";
const made = (apiVersion: string, kind: string, name: string): AnyObject => {
  const object = readAny({ apiVersion, kind, metadata: { name, namespace: "shop" }, spec: {} });
  assert.ok(object !== undefined);
  return object;
};
const sidecar = made(networking, "Sidecar", "default");
const destinationRule = made(networking, "DestinationRule", "cart");

test("a store has the kinds of its objects, and the same set again for the same kinds", () => {
  const store = new MeshStore(defaultMeshSettings);
  assert.equal(store.kindsPresent.size, 0);
  store.set(destinationRule);
  const without = store.kindsPresent;
  assert.deepEqual([...without].sort(), ["DestinationRule", "Namespace"]);
  store.set(sidecar);
  const withSidecar = store.kindsPresent;
  assert.ok(withSidecar.has("Sidecar"));
  const other = made(networking, "Sidecar", "other");
  store.set(other);
  assert.equal(store.kindsPresent, withSidecar);
  store.delete("Sidecar", keyOf(sidecar));
  assert.equal(store.kindsPresent, withSidecar);
  store.delete("Sidecar", keyOf(other));
  assert.ok(!store.kindsPresent.has("Sidecar"));
  assert.equal(store.kindsPresent, without);
});

test("an overlay adds the kinds of its objects", () => {
  const store = new MeshStore(defaultMeshSettings);
  store.set(destinationRule);
  assert.equal(
    overlay(store, [{ object: made(networking, "DestinationRule", "other") }]).kindsPresent,
    store.kindsPresent,
  );
  const created = overlay(store, [{ object: sidecar }]);
  assert.ok(created.kindsPresent.has("Sidecar"));
  assert.ok(!store.kindsPresent.has("Sidecar"));
  assert.equal(overlay(store, [{ object: sidecar }]).kindsPresent, created.kindsPresent);
});
