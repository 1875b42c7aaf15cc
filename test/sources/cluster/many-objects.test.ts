import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Kind } from "../../../src/kube/kinds.ts";
import { indexesOfRules } from "../../../src/cli/cluster-options.ts";
import { ClusterMesh } from "../../../src/sources/cluster/live-mesh.ts";
import { connectToCluster } from "../../../src/sources/cluster/connection.ts";
import { objectsPerTurn } from "../../../src/sources/cluster/list.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { kubeconfigFor } from "./live-cluster.ts";

// How long the loop stands still depends on the machine: `npm run bench -- cluster` measures it.

const count = 50_000;
const kinds: readonly Kind[] = ["VirtualService", "DestinationRule", "AuthorizationPolicy", "PeerAuthentication"];

test("50,000 objects of four kinds are read and indexed in small pieces, one piece in a turn of the loop", async (context) => {
  const worker = new Worker(new URL("many-objects-server.ts", import.meta.url), { workerData: { count } });
  const [url] = (await once(worker, "message")) as [string];
  const connection = await connectToCluster({ kubeconfig: kubeconfigFor(context, url), env: {} });
  const log = createLog("silent", "stderr");
  const cluster = new ClusterMesh({ connection, kinds, indexes: indexesOfRules, log });
  context.after(async () => {
    await cluster.close();
    connection.close();
    await worker.terminate();
  });
  const stored = () => kinds.reduce((sum, kind) => sum + cluster.mesh().count(kind), 0);
  let largest = 0;
  for (let before = 0; cluster.checks.some(({ problem }) => problem() !== undefined); ) {
    await nextTurn();
    const now = stored();
    largest = Math.max(largest, now - before);
    before = now;
  }
  assert.equal(stored(), count);
  // A first page is small, and may come on top of another kind's piece.
  assert.ok(largest <= 2 * objectsPerTurn, `${largest} objects in one turn`);
});
