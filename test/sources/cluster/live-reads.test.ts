import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { absent } from "../../../src/engine/evidence.ts";
import { idOf } from "../../../src/kube/identity.ts";
import { type Change, overlay, subjectOf } from "../../../src/view/overlay.ts";
import { type LiveCluster, liveCluster, virtualService } from "./live-cluster.ts";
import { eventually } from "./manual-pace.ts";

const longMs = 5_000;

/** VirtualServices a and b in shop and c elsewhere, loaded; from then on the mesh hears nothing. */
async function lagging(context: TestContext): Promise<LiveCluster> {
  const live = await liveCluster(
    context,
    (server) => {
      server.serve("networking.istio.io/v1", "VirtualService", "virtualservices");
      for (const name of ["a", "b"]) server.apply("virtualservices", virtualService(name));
      server.apply("virtualservices", virtualService("c", "c", "elsewhere"));
    },
    { kinds: ["VirtualService", "DestinationRule"] },
  );
  await live.watched();
  live.server.muteWatches();
  live.server.requests.length = 0;
  return live;
}

const shown = (changes: readonly Change[] | undefined) =>
  changes?.map((change) => `${change.object ? "is" : "gone"} ${idOf(subjectOf(change))}`);

test("a present one is a GET: as it is now, or gone", async (context) => {
  const { server, cluster } = await lagging(context);
  const mesh = cluster.mesh();
  const [a, b] = ["a", "b"].map((name) => mesh.find("VirtualService", `shop/${name}`));
  assert.ok(a && b);
  server.apply("virtualservices", virtualService("a", "moved"));
  server.delete("virtualservices", "shop/b");
  const changes = await cluster.liveRead([a, b], longMs);
  assert.deepEqual(shown(changes), ["is VirtualService shop/a", "gone VirtualService shop/b"]);
  assert.deepEqual(server.short, ["get virtualservices", "get virtualservices"]);
  const now = overlay(mesh, changes ?? []);
  const moved = now.find("VirtualService", "shop/a");
  assert.deepEqual(moved?.kind === "VirtualService" && moved.spec.hosts, ["moved"]);
  assert.equal(now.find("VirtualService", "shop/b"), undefined);
  assert.equal(mesh.find("VirtualService", "shop/a"), a, "the store is as it was");
});

test("an absent one is a list of its kind in its namespace", async (context) => {
  const { server, cluster } = await lagging(context);
  server.apply("virtualservices", virtualService("new"));
  server.delete("virtualservices", "shop/a");
  const changes = await cluster.liveRead([absent("VirtualService", "shop")], longMs);
  assert.deepEqual(shown(changes), [
    "is VirtualService shop/b",
    "is VirtualService shop/new",
    "gone VirtualService shop/a",
  ]);
  assert.deepEqual(
    server.requests.map(({ path }) => path),
    ["/apis/networking.istio.io/v1/namespaces/shop/virtualservices"],
  );
});

test("an absent one with a name is a GET", async (context) => {
  const { server, cluster } = await lagging(context);
  const one = absent("VirtualService", "shop", "new");
  assert.deepEqual(await cluster.liveRead([one], longMs), []);
  server.apply("virtualservices", virtualService("new"));
  assert.deepEqual(shown(await cluster.liveRead([one], longMs)), ["is VirtualService shop/new"]);
});

test("no answer in time, a failure, a kind that nobody serves: no answer", async (context) => {
  const { server, cluster } = await lagging(context);
  const one = [absent("VirtualService", "shop")];
  server.faults.push(() => true);
  assert.equal(await cluster.liveRead(one, 20), undefined);
  server.faults.push((_request, response) => {
    response.destroy();
    return true;
  });
  assert.equal(await cluster.liveRead([absent("VirtualService", "other")], longMs), undefined);
  assert.equal(await cluster.liveRead([absent("DestinationRule", "shop")], longMs), undefined);
});

test("the same reads of many reviews are one; who comes while it runs gets the next", async (context) => {
  const { server, cluster } = await lagging(context);
  let release: () => void = () => undefined;
  server.faults.push(async (_request, response) => {
    await new Promise<void>((resolve) => (release = resolve));
    // Answered from before what comes next was stored.
    response.end(JSON.stringify({ metadata: { resourceVersion: "1" }, items: [] }));
    return true;
  });
  const read = () => cluster.liveRead([absent("VirtualService", "shop")], longMs);
  const first = read();
  await eventually("asked", () => server.requests.length === 1);
  server.apply("virtualservices", virtualService("new"));
  const others = Array.from({ length: 50 }, read);
  release();
  assert.equal(
    (await first)?.some(({ object }) => object !== undefined),
    false,
  );
  for (const other of await Promise.all(others)) assert.ok(shown(other)?.includes("is VirtualService shop/new"));
  assert.equal(server.requests.length, 2);
});
