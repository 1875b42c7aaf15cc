import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { Election, leases } from "../../src/controllers/election.ts";
import { ObjectClient } from "../../src/controllers/objects.ts";
import { type ClusterConnection, connectToCluster } from "../../src/sources/cluster/connection.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, skip, succeeds } from "./environment.ts";
import { permit } from "./meshward.ts";
import { until } from "./program.ts";

// One of several replicas leads, through a Lease of the real API server, with exactly the permissions of the manifests.

const lease = { namespace: "meshward-system", name: "meshward" } as const;
// A machine that stands still for seconds must not take a leader's Lease away.
const timing = { leaseMs: 9_000, renewDeadlineMs: 6_000, retryMs: 300 };

describe("the election", { skip }, () => {
  let plane: ControlPlane;
  const closing: (() => Promise<void> | void)[] = [];
  before(async () => {
    plane = await startControlPlane({ binaries: binaries() });
    await succeeds(plane, ["apply", "-f", "-"], [namespace(lease.namespace)]);
    await permit(plane);
  });
  after(async () => {
    for (const close of closing.reverse()) await close();
    await plane?.close();
  });

  const connect = async (): Promise<ClusterConnection> => {
    const connection = await connectToCluster({ kubeconfig: plane.kubeconfig("meshward"), env: {} });
    closing.push(() => connection.close());
    return connection;
  };
  async function candidate(replica: string) {
    let isCut = false;
    const connection = await connect();
    const cuttable: ClusterConnection = {
      server: connection.server,
      request: (request) =>
        isCut ? Promise.reject(new Error("this replica is cut off")) : connection.request(request),
      close: () => connection.close(),
    };
    const election = new Election({
      connection: cuttable,
      lease,
      replica,
      timing,
      log: createLog("silent", () => undefined),
    });
    closing.push(() => election.stop());
    return { election, cut: (is: boolean) => void (isCut = is) };
  }
  const stored = async () => new ObjectClient(await connect(), leases).get(lease);

  test("a leader is elected, replaced when it is cut off, and hands over when it stops", async (t) => {
    const all = [await candidate("a"), await candidate("b"), await candidate("c")];
    const leading = () => all.filter(({ election }) => election.leading);
    const oneLeads = () => until("one replica to lead", () => (leading().length === 1 ? leading()[0] : undefined));
    const first = await oneLeads();
    const spec = (await stored())["spec"] as { holderIdentity: string; leaseTransitions: number };
    assert.equal(spec.holderIdentity, first.election.identity);
    assert.equal(spec.leaseTransitions, 0);

    first.cut(true);
    const cutAt = performance.now();
    await until("the leader to give up", () => (first.election.leading ? undefined : true));
    const gaveUpMs = performance.now() - cutAt;
    assert.deepEqual(leading(), [], "another leads already");
    const second = await oneLeads();
    assert.notEqual(second, first);
    t.diagnostic(
      `cut off: gave up after ${Math.round(gaveUpMs)} ms, replaced after ${Math.round(performance.now() - cutAt)} ms`,
    ); // prettier-ignore
    first.cut(false);
    await later(1_000);
    assert.deepEqual(leading(), [second]);

    const stoppedAt = performance.now();
    await second.election.stop();
    await oneLeads();
    const handedOverMs = performance.now() - stoppedAt;
    t.diagnostic(`handed over in ${Math.round(handedOverMs)} ms`);
    assert.ok(handedOverMs < timing.leaseMs, `it took ${handedOverMs} ms, as if the leader had died`);
  });
});
