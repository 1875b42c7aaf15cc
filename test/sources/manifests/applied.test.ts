import assert from "node:assert/strict";
import { test } from "node:test";
import { appliedTo } from "../../../src/sources/manifests/applied.ts";
import { fileMeshOf } from "../../../src/sources/manifests/file-mesh.ts";
import type { Manifest } from "../../../src/sources/manifests/manifests.ts";

const manifest = (metadata: object, more: object = {}): Manifest => ({
  raw: { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", ...metadata }, ...more },
  apiVersion: "v1",
  kind: "Namespace",
  file: "shop.yaml",
  at: [],
  locate: () => ({ line: 1, column: 1 }),
});
const filesOf = (...manifests: Manifest[]) => fileMeshOf(manifests, { defaultNamespace: "default" });

/** What the last of the manifests is, once it is applied over what is there. */
function applied(there: Manifest | undefined, ...manifests: Manifest[]) {
  const { objects, replaced } = appliedTo(filesOf(...(there ? [there] : [])).mesh, filesOf(...manifests));
  for (const { by, earlier } of replaced) assert.ok(objects.includes(by) && objects.includes(earlier));
  const object = objects.at(-1)?.object;
  assert.ok(object?.kind === "Namespace");
  return object;
}

const stored = { uid: "u", resourceVersion: "7", creationTimestamp: "2026-01-01T00:00:00Z" };
const lastApplied = (labels: object) => ({
  "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ metadata: { labels } }),
});

test("what the API server writes is that of the object that stands there", () => {
  const there = manifest(
    { ...stored, deletionTimestamp: "2026-01-02T00:00:00Z" },
    { status: { phase: "Terminating" } },
  );
  const { metadata, status } = applied(there, manifest({ creationTimestamp: "2030-01-01T00:00:00Z", uid: "other" }));
  assert.deepEqual(
    [metadata.creationTimestamp, metadata.uid, metadata.resourceVersion, metadata.deletionTimestamp, status.phase],
    ["2026-01-01T00:00:00Z", "u", "7", "2026-01-02T00:00:00Z", "Terminating"],
  );
  assert.equal(applied(undefined, manifest({})).metadata.creationTimestamp, undefined);
});

test("an object of Istio that is being deleted is in effect once more if files change it, and gone otherwise", () => {
  const policy = (spec: object, deletionTimestamp?: string): Manifest => ({
    ...manifest({}),
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    raw: {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { ...stored, name: "p", namespace: "shop", deletionTimestamp },
      spec,
    },
  });
  const there = filesOf(policy({}, "2026-01-02T00:00:00Z")).mesh;
  const timestampOf = (spec: object) =>
    appliedTo(there, filesOf(policy(spec))).objects[0]?.object.metadata.deletionTimestamp;
  assert.equal(timestampOf({ rules: [{}] }), undefined);
  assert.equal(timestampOf({}), "2026-01-02T00:00:00Z");
});

test("labels that others put on stay; those applied before and gone now go", () => {
  const labels = { team: "a", tier: "1", "istio.io/dataplane-mode": "ambient" };
  const there = manifest({ ...stored, labels, annotations: lastApplied({ team: "a", tier: "1" }) });
  assert.deepEqual(applied(there, manifest({}), manifest({ labels: { team: "b" } })).metadata.labels, {
    team: "b",
    "istio.io/dataplane-mode": "ambient",
  });
});

test("without a trace of what was applied before, all labels stay", () => {
  for (const annotations of [undefined, { "kubectl.kubernetes.io/last-applied-configuration": "{" }])
    assert.deepEqual(applied(manifest({ ...stored, labels: { a: "1" }, annotations }), manifest({})).metadata.labels, {
      a: "1",
    });
});

test("what was never stored is a manifest too, and is replaced whole", () => {
  const there = manifest({ creationTimestamp: "2026-01-01T00:00:00Z", labels: { a: "1" } });
  const { labels, creationTimestamp } = applied(there, manifest({ labels: { b: "2" } })).metadata;
  assert.deepEqual([labels, creationTimestamp], [{ b: "2" }, "2026-01-01T00:00:00Z"]);
});
