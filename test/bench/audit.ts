// What the background audit costs, and what it costs the reviews that are answered meanwhile.

import { Agent } from "node:https";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import type { AuditAsk, AuditTold } from "./audit-server.ts";
import { Child } from "./child.ts";
import { median, shown, table } from "./measure.ts";
import { asStored, authorizationPolicy, type Raw, readers, team, virtualService } from "./mesh.ts";
import { post, updates } from "./webhook.ts";

const objects = 100_000;
const connections = 4;
const reviewsInRound = 1_500;
const rounds = 5;

/** The audit of a mesh of 100,000 objects: CPU, and the latency of reviews with and without it, in turns. */
export async function auditTable(certificate: Certificate): Promise<string> {
  const child = new Child<AuditAsk, AuditTold>("audit-server.ts");
  try {
    const { port = 0 } = await child.ask({ certificate, objects });
    const whole = await child.ask({ audits: 3 });
    const [ofVirtualService, ofPolicy] = [await child.ask({ change: nextStep }), await child.ask({ change: policy })];
    const agent = new Agent({
      keepAlive: true,
      maxSockets: connections,
      ca: certificate.cert,
      rejectUnauthorized: false,
    });
    const bodies = updates(1_000);
    const latencies = { without: [] as number[][], with: [] as number[][] };
    await reviews({ port, agent }, bodies);
    for (let round = 0; round < rounds; round++) {
      latencies.without.push(await reviews({ port, agent }, bodies));
      await child.ask("begin");
      latencies.with.push(await reviews({ port, agent }, bodies));
      await child.ask("end");
    }
    agent.destroy();
    return [costs(whole, ofVirtualService, ofPolicy), latencyTable(latencies)].join("\n");
  } finally {
    child.end();
  }
}

const at = team(1);
const nextStep = asStored(virtualService({ namespace: at, name: "vs-5" }, "svc-5", { weights: [70, 20] }), 7_000_001);
const policy: Raw = asStored(
  authorizationPolicy({ namespace: at, name: "read-svc-3" }, readers(at, "svc-4")),
  7_000_002,
);

const costs = (whole: AuditTold, one: AuditTold, other: AuditTold): string =>
  table(
    `Audits of ${shown(objects)} objects, without reviews`,
    ["audit", "CPU ms", "evaluations of a rule"],
    [
      [`everything (${shown(whole.findings ?? 0)} findings, heap ${shown(whole.heapMb ?? 0)} MB)`, whole],
      ["after a change of a VirtualService", one],
      ["after a change of an AuthorizationPolicy", other],
    ].map(([title, told]) => {
      const { cpuMs = 0, evaluations = 0 } = told as AuditTold;
      return [title as string, shown(cpuMs), shown(evaluations)];
    }),
  );

const percentile = (sorted: readonly number[], of: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * of))] ?? Number.NaN;

function latencyTable(latencies: Readonly<Record<"without" | "with", readonly number[][]>>): string {
  const at = (which: "without" | "with", of: number) => median(latencies[which].map((round) => percentile(round, of)));
  const row = (title: string, of: number) => {
    const [before, during] = [at("without", of), at("with", of)];
    return [title, before.toFixed(2), during.toFixed(2), (during / before).toFixed(1)];
  };
  return table(
    `Reviews during an audit of everything that never ends, ${connections} at a time: median of ${rounds} rounds`,
    ["of reviews", "ms without audit", "ms with audit", "ratio"],
    [row("50 %", 0.5), row("99 %", 0.99)],
  );
}

/** Latencies in milliseconds, sorted. */
async function reviews(server: { readonly port: number; readonly agent: Agent }, bodies: readonly string[]) {
  const found: number[] = [];
  let left = reviewsInRound;
  const loop = async () => {
    while (left-- > 0) {
      const start = performance.now();
      await post(server, bodies[left % bodies.length] as string);
      found.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: connections }, loop));
  return found.sort((a, b) => a - b);
}
