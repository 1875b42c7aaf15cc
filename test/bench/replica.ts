// What one replica needs, as its container would: the built file, watching clusters of several sizes. Linux only, because the
// kernel tells the peak.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as elapsed } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { memoryEnvironment } from "../../src/deploy/workload.ts";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import type { ApiServerAsk, ApiServerTold } from "./api-server.ts";
import { Child } from "./child.ts";
import { kubeconfigOf } from "./cluster.ts";
import { shown, table } from "./measure.ts";

const sizes = [0, 1_000, 25_000, 100_000];
const idleMs = 10_000;
const built = fileURLToPath(new URL("../../dist/meshward.js", import.meta.url));

/** `folder` has the certificate, and takes the kubeconfig. */
export async function replicaTable(folder: string, certificate: Certificate): Promise<string> {
  if (!existsSync(built)) throw new Error(`${built} is not there: run npm run build first`);
  const rows: string[][] = [];
  for (const size of sizes) {
    const apiServer = new Child<ApiServerAsk, ApiServerTold>("api-server.ts", [String(size)]);
    try {
      const { url, objects } = (await apiServer.ask({ certificate })) as { url: string; objects: number };
      const kubeconfig = join(folder, "replica-kubeconfig");
      writeFileSync(kubeconfig, JSON.stringify(kubeconfigOf(url, certificate)));
      rows.push([shown(objects), ...(await needs(folder, kubeconfig))]);
    } finally {
      apiServer.end();
    }
  }
  const head = [
    "objects",
    "start to ready",
    "CPU time until ready",
    "memory at its peak",
    "memory when idle",
    "CPU when idle",
  ];
  return table("One replica: the built file, watching a scripted API server over TLS", head, rows);
}

async function needs(folder: string, kubeconfig: string): Promise<string[]> {
  const start = performance.now();
  const args = [
    ...[built, "serve", "--mesh", "cluster", "--kubeconfig", kubeconfig, "--host", "127.0.0.1"],
    ...["--port", "0", "--ops-port", "0", "--drain-seconds", "0"],
    ...["--tls-cert", join(folder, "tls.crt"), "--tls-key", join(folder, "tls.key")],
  ];
  const env = { ...process.env, ...Object.fromEntries(memoryEnvironment) };
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"], env });
  const ended = once(child, "exit");
  try {
    const port = await opsPortOf(child);
    while (!(await fetch(`http://127.0.0.1:${port}/readyz`)).ok) await elapsed(20);
    const readyMs = performance.now() - start;
    const readyCpuMs = cpuMsOf(child);
    await elapsed(idleMs);
    const before = cpuMsOf(child);
    await elapsed(idleMs);
    const cores = (cpuMsOf(child) - before) / idleMs;
    return [
      `${shown(readyMs / 1000)} s`,
      `${shown(readyCpuMs / 1000)} s`,
      `${shown(kilobytesOf(child, "VmHWM") / 1024)} MiB`,
      `${shown(kilobytesOf(child, "VmRSS") / 1024)} MiB`,
      `${shown(cores * 1000)} m`,
    ];
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

async function opsPortOf({ stdout }: ChildProcess): Promise<number> {
  if (stdout !== null) {
    const lines = createInterface({ input: stdout });
    for await (const line of lines) {
      const { opsPort } = JSON.parse(line) as { opsPort?: number };
      if (opsPort !== undefined) return opsPort;
    }
  }
  throw new Error("serve ended before it was ready");
}

const kilobytesOf = ({ pid }: ChildProcess, field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

/** User and system time, in ticks of 10 ms (proc_pid_stat(5), after the name of the program). */
function cpuMsOf({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
