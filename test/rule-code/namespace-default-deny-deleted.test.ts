import assert from "node:assert/strict";
import { test } from "node:test";
import { judge } from "../../src/engine/evaluate.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { namespaceDefaultDenyMissing } from "../../src/rules/namespace/default-deny-missing.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";

test("a namespace that is deleted with all that was in it has nothing that could be open", () => {
  const object = (apiVersion: string, kind: string, metadata: object, spec: object = {}) =>
    readAny({ apiVersion, kind, metadata, spec }) as AnyObject;
  const metadata = { name: "api", namespace: "shop" };
  const namespace = object("v1", "Namespace", { name: "shop", labels: { "istio-injection": "enabled" } });
  const policy = object("security.istio.io/v1", "AuthorizationPolicy", metadata);
  const pods = object("apps/v1", "Deployment", metadata, { template: { metadata: { labels: { app: "api" } } } });
  const mesh = new MeshStore(defaultMeshSettings);
  for (const one of [namespace, policy, pods]) mesh.set(one);
  const found = (...deleted: readonly AnyObject[]) =>
    judge(
      [namespaceDefaultDenyMissing],
      mesh,
      deleted.map((old) => ({ old, object: undefined })),
    ).findings.length;
  assert.equal(found(namespace, policy, pods), 0);
  assert.equal(found(namespace, policy), 1, "the pods are still there");
  assert.equal(found(policy, pods), 1, "the namespace is still there");
});
