import assert from "node:assert/strict";
import { test } from "node:test";
import { unregister } from "../../src/controllers/unregister.ts";
import { ClusterError } from "../../src/sources/cluster/cluster-error.ts";
import { forbidden, MemoryCluster } from "./memory-cluster.ts";

const keys = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] as const;

function cluster() {
  const memory = new MemoryCluster();
  for (const plural of keys)
    for (const name of ["meshward", "others"]) memory.put(`${plural}//${name}`, { webhooks: [] });
  const left = () =>
    keys.flatMap((plural) => ["meshward", "others"].filter((name) => memory.get(`${plural}//${name}`)));
  return { memory, left };
}

test("both webhook configurations are deleted, and nobody else's", async () => {
  const { memory, left } = cluster();
  assert.deepEqual(await unregister(memory.connect(), "meshward"), [
    "validatingwebhookconfiguration/meshward",
    "mutatingwebhookconfiguration/meshward",
  ]);
  assert.deepEqual(left(), ["others", "others"]);
});

test("what does not exist is no error", async () => {
  const { memory } = cluster();
  await unregister(memory.connect(), "meshward");
  assert.deepEqual(await unregister(memory.connect(), "meshward"), []);
});

test("one that cannot be deleted does not keep the other one", async () => {
  const { memory, left } = cluster();
  const connection = memory.connect((request) => {
    if (request.plural === keys[0]) throw forbidden(request);
  });
  await assert.rejects(
    unregister(connection, "meshward"),
    (error) => error instanceof ClusterError && error.fault === "forbidden",
  );
  assert.deepEqual(left(), ["meshward", "others", "others"]);
});
