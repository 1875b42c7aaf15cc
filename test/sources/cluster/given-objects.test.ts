import assert from "node:assert/strict";
import { test } from "node:test";
import { type AnyObject, readObject } from "../../../src/kube/object.ts";
import { liveCluster } from "./live-cluster.ts";

// Intents of files in the mesh of a cluster: they are there with and without the definition, and one of the cluster counts instead.

const spec = (port: number) => ({
  to: { service: "api", ports: [port] },
  requests: [{ from: ["mesh"], expect: "allowed" }],
});
const given = (name: string, port: number): AnyObject =>
  readObject("MeshwardIntent", { kind: "MeshwardIntent", metadata: { name, namespace: "shop" }, spec: spec(port) });

test("objects that are given count as long as the cluster has none of the same name", {
  timeout: 60_000,
}, async (t) => {
  const it = await liveCluster(
    t,
    (server) => {
      server.serve("meshward.io/v1alpha1", "MeshwardIntent", "meshwardintents");
    },
    { kinds: ["MeshwardIntent"] },
  );
  await it.watched();
  const shown = () =>
    [...it.cluster.mesh().all("MeshwardIntent")]
      .map(({ metadata, spec: { to } }) => `${metadata.name} ${to.ports.join()}`)
      .sort()
      .join("; ");
  it.cluster.give([given("a", 1), given("b", 1)]);
  assert.equal(shown(), "a 1; b 1");
  it.server.apply("meshwardintents", { metadata: { name: "a", namespace: "shop" }, spec: spec(2) });
  await it.until("the object of the cluster", () => shown() === "a 2; b 1");
  // What the files have does not replace it, and what they no longer have is gone.
  it.cluster.give([given("a", 3), given("c", 3)]);
  assert.equal(shown(), "a 2; c 3");
  it.server.delete("meshwardintents", "shop/a");
  await it.until("the document in a file", () => shown() === "a 3; c 3");
  // A list of the cluster does not have them.
  it.cluster.readAgain(["MeshwardIntent"]);
  it.server.apply("meshwardintents", { metadata: { name: "d", namespace: "shop" }, spec: spec(4) });
  await it.until("the list", () => shown() === "a 3; c 3; d 4");
});

test("they count where the cluster has no definition", { timeout: 60_000 }, async (t) => {
  const it = await liveCluster(t, () => undefined, { kinds: ["MeshwardIntent"] });
  await it.ready();
  it.cluster.give([given("a", 1)]);
  assert.equal([...it.cluster.mesh().all("MeshwardIntent")].length, 1);
});
