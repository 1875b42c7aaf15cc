// What `serve --mesh cluster` is, in a process of its own that also tells what it costs. `follower.ts KUBECONFIG`.

import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as elapsed } from "node:timers/promises";
import { indexesOfRules, kindsOfRules } from "../../src/cli/cluster-options.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { startWebhook } from "../../src/cli/webhook.ts";
import { allKinds } from "../../src/kube/kinds.ts";
import { ClusterMesh } from "../../src/sources/cluster/live-mesh.ts";
import { connectToCluster } from "../../src/sources/cluster/connection.ts";
import { createLog } from "../../src/telemetry/log.ts";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import { fixedCertificate } from "../../src/tls/self-signed.ts";
import { heapBytes } from "./measure.ts";

export type FollowerAsk = { readonly certificate: Certificate } | { readonly trustDomain: string } | "memory" | "cost";
/** Milliseconds. A timer of ten looks at the loop: that much is in each of them when nothing else happens. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}
export interface Loaded {
  readonly port: number;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakBytes: number;
  readonly idleBytes: number;
  readonly delay: LoopDelay;
}
/** Since the last question, and since the process began. */
export interface Cost {
  readonly delay: LoopDelay;
  readonly cpuUs: number;
}
export type FollowerTold = Loaded | Cost | { readonly bytesPerObject: number };

const loop = monitorEventLoopDelay({ resolution: 10 });
let cluster: ClusterMesh;
let emptyHeap = 0;

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function loopDelay(): LoopDelay {
  const [p50, p99, max] = [loop.percentile(50), loop.percentile(99), loop.max].map((ns) => ns / 1e6);
  loop.reset();
  return { p50: p50 ?? 0, p99: p99 ?? 0, max: max ?? 0 };
}

async function load(certificate: Certificate): Promise<Loaded> {
  const { policies } = await policiesOf({ profile: "baseline" });
  const connection = await connectToCluster({ kubeconfig: process.argv[2], env: {} });
  emptyHeap = heapBytes();
  const idleBytes = process.resourceUsage().maxRSS * 1024;
  const log = createLog("info", "stdout");
  loop.enable();
  await elapsed(50);
  const [start, cpu] = [performance.now(), cpuUs()];
  cluster = new ClusterMesh({ connection, kinds: kindsOfRules, indexes: indexesOfRules, log });
  const { port } = await startWebhook({
    mesh: () => cluster.mesh(),
    checks: cluster.checks,
    freshness: () => cluster.freshness(),
    readAgain: (evidence) => cluster.liveRead(evidence, 300),
    connection,
    policies: () => policies,
    certificates: fixedCertificate(certificate),
    log,
    host: "127.0.0.1",
    port: 0,
  });
  while (cluster.checks.some(({ problem }) => problem() !== undefined)) await elapsed(20);
  const wallMs = performance.now() - start;
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  return { port, wallMs, cpuMs: (cpuUs() - cpu) / 1000, peakBytes, idleBytes, delay: loopDelay() };
}

function memory(): FollowerTold {
  const objects = allKinds.reduce((sum, kind) => sum + cluster.mesh().count(kind), 0);
  return { bytesPerObject: (heapBytes() - emptyHeap) / objects };
}

/** Until the mesh is one of this trust domain. */
async function rebuilt(trustDomain: string): Promise<Cost> {
  while (cluster.mesh().settings.trustDomain !== trustDomain) await elapsed(5);
  await elapsed(100);
  return { delay: loopDelay(), cpuUs: cpuUs() };
}

function told(ask: FollowerAsk): FollowerTold | Promise<FollowerTold> {
  if (ask === "memory") return memory();
  if (ask === "cost") return { delay: loopDelay(), cpuUs: cpuUs() };
  return "certificate" in ask ? load(ask.certificate) : rebuilt(ask.trustDomain);
}

process.on("message", (ask: FollowerAsk) => void Promise.resolve(told(ask)).then((answer) => process.send?.(answer)));
process.on("disconnect", () => process.exit());
