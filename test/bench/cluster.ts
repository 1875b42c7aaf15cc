// A cluster that is used: what it costs to read all of it, and what its changes cost those who wait for an answer.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as elapsed } from "node:timers/promises";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import type { ApiServerAsk, ApiServerTold } from "./api-server.ts";
import { Child } from "./child.ts";
import type { Cost, FollowerAsk, FollowerTold, Loaded, LoopDelay } from "./follower.ts";
import { shown, table } from "./measure.ts";
import { agentFor, post, updates } from "./webhook.ts";

const objects = 100_000;
const eventsPerSecond = 500;
const reviewsInRound = 2_000;
const rounds = 4;

type ApiServer = Child<ApiServerAsk, ApiServerTold>;
type Follower = Child<FollowerAsk, FollowerTold>;

/** `folder` takes the kubeconfig. */
export async function clusterTable(folder: string, certificate: Certificate): Promise<string> {
  const apiServer: ApiServer = new Child("api-server.ts", [String(objects)]);
  const kubeconfig = join(folder, "kubeconfig");
  const follower: Follower = new Child("follower.ts", [kubeconfig]);
  try {
    const there = (await apiServer.ask({ certificate })) as { url: string; objects: number };
    writeFileSync(kubeconfig, JSON.stringify(kubeconfigOf(there.url, certificate)));
    const loaded = (await follower.ask({ certificate })) as Loaded;
    const { bytesPerObject } = (await follower.ask("memory")) as { bytesPerObject: number };
    const reviews = await reviewed(apiServer, follower, agentAt(loaded.port, certificate));
    const rebuild = await rebuilt(apiServer, follower);
    return [
      table(
        `A cluster of ${shown(there.objects)} objects, from a scripted API server over TLS`,
        ["what", "value"],
        [
          ["start to ready: time", `${shown(loaded.wallMs / 1000)} s`],
          ["start to ready: CPU", `${shown(loaded.cpuMs / 1000)} s`],
          ["event-loop delay meanwhile: p50, p99, longest", shownDelay(loaded.delay)],
          ["memory before, at its peak (RSS)", `${megabytes(loaded.idleBytes)}, ${megabytes(loaded.peakBytes)}`],
          ["memory kept for an object with its indexes", `${shown(bytesPerObject)} bytes`],
          ["mesh-config change: everything rebuilt, the loop stands still for", `${shown(rebuild.delay.max)} ms`],
        ],
      ),
      reviews,
    ].join("\n");
  } finally {
    apiServer.end();
    follower.end();
  }
}

const megabytes = (bytes: number): string => `${shown(bytes / 1e6)} MB`;
const shownDelay = ({ p50, p99, max }: LoopDelay): string => `${shown(p50)}, ${shown(p99)}, ${shown(max)} ms`;

export const kubeconfigOf = (server: string, { ca = "" }: Certificate) => ({
  apiVersion: "v1",
  kind: "Config",
  "current-context": "bench",
  clusters: [{ name: "bench", cluster: { server, "certificate-authority-data": Buffer.from(ca).toString("base64") } }],
  users: [{ name: "bench", user: {} }],
  contexts: [{ name: "bench", context: { cluster: "bench", user: "bench" } }],
});

interface Webhook {
  readonly port: number;
  readonly agent: ReturnType<typeof agentFor>;
}
const agentAt = (port: number, certificate: Certificate): Webhook => ({ port, agent: agentFor(certificate) });

interface Answered {
  readonly ms: number[];
  cpuUs: number;
  events: number;
  seconds: number;
  longestStop: number;
}

/** With events and without, in turn, so that what slows the machine down slows both. */
async function reviewed(apiServer: ApiServer, follower: Follower, webhook: Webhook): Promise<string> {
  const bodies = updates(1_000);
  const none = (): Answered => ({ ms: [], cpuUs: 0, events: 0, seconds: 0, longestStop: 0 });
  const [quiet, busy, warmUp] = [none(), none(), none()];
  try {
    await answer(follower, webhook, bodies, warmUp);
    const requests = await asked(apiServer);
    for (let round = 0; round < rounds; round++) {
      await answer(follower, webhook, bodies, quiet);
      await apiServer.ask({ eventsPerSecond });
      await answer(follower, webhook, bodies, busy);
      busy.events += ((await apiServer.ask({ eventsPerSecond: 0 })) as { done: number }).done;
    }
    const title = `The same: allowed reviews, one after the other; they made ${(await asked(apiServer)) - requests} requests to the API server`;
    const head = ["meanwhile", "p50, ms", "p99, ms", "longest, ms", "CPU us per review, events included"];
    const perSecond = shown(busy.events / busy.seconds);
    return table(title, head, [row("nothing changes", quiet), row(`${perSecond} watch events a second`, busy)]);
  } finally {
    webhook.agent.destroy();
  }
}

const asked = async (apiServer: ApiServer): Promise<number> =>
  ((await apiServer.ask("requests")) as { done: number }).done;

async function answer(
  follower: Follower,
  webhook: Webhook,
  bodies: readonly string[],
  answered: Answered,
): Promise<void> {
  const [before, start] = [(await follower.ask("cost")) as Cost, performance.now()];
  for (let i = 0; i < reviewsInRound; i++) {
    const sent = performance.now();
    const text = await post(webhook, bodies[i % bodies.length] as string);
    answered.ms.push(performance.now() - sent);
    if (!text.includes('"allowed":true')) throw new Error(`a review of the bench was not allowed: ${text}`);
  }
  answered.seconds += (performance.now() - start) / 1000;
  const after = (await follower.ask("cost")) as Cost;
  answered.cpuUs += after.cpuUs - before.cpuUs;
}

function row(title: string, { ms, cpuUs }: Answered): readonly string[] {
  const sorted = [...ms].sort((a, b) => a - b);
  const at = (part: number) => shown(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0);
  return [title, at(0.5), at(0.99), at(1), shown(cpuUs / ms.length)];
}

/** The longest stop of the loop while the mesh gets another trust domain. */
async function rebuilt(apiServer: ApiServer, follower: Follower): Promise<Cost> {
  const trustDomain = "other.example";
  await follower.ask("cost");
  // What stops the loop right after the question is not measured.
  await elapsed(50);
  const cost = follower.ask({ trustDomain });
  await apiServer.ask({ trustDomain });
  return (await cost) as Cost;
}
