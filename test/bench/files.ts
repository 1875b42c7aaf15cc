// Commands in processes of their own: `check` over files that do not fit in one look, `explain` over a
// capture of a large cluster, and `serve` from start to ready.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as elapsed } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { allKinds } from "../../src/kube/kinds.ts";
import { median, shown, table } from "./measure.ts";
import { manifests, type Raw, storedMesh, team } from "./mesh.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const source = join(root, "src/main.ts");
const built = join(root, "dist/meshward.js");

/** Writes manifests as a repository has them: a file for each namespace. Returns how many. */
function writeFolder(folder: string, objects: Iterable<Raw>): number {
  mkdirSync(folder);
  const files = new Map<string, string[]>();
  let count = 0;
  for (const object of objects) {
    const { namespace, name } = object.metadata;
    const file = `${String(namespace ?? name)}.yaml`;
    const documents = files.get(file) ?? [];
    if (documents.length === 0) files.set(file, documents);
    documents.push(stringify(object));
    count++;
  }
  for (const [file, documents] of files) writeFileSync(join(folder, file), documents.join("---\n"));
  return count;
}

/** Writes a capture as `meshward capture` writes it. Returns how many objects are in it. */
function writeCapture(file: string, objects: Iterable<Raw>): number {
  const descriptor = openSync(file, "w");
  const kind = '"apiVersion":"meshward.io/v1alpha1","kind":"Capture","version":1';
  writeSync(descriptor, `{${kind},"server":"https://bench","at":"2026-01-01T00:00:00.000Z","items":[`);
  let count = 0;
  for (const object of objects) writeSync(descriptor, `${count++ === 0 ? "" : ","}\n${JSON.stringify(object)}`);
  const knowledge = Object.fromEntries(allKinds.map((one) => [one, "complete"]));
  writeSync(descriptor, `\n],"knowledge":${JSON.stringify(knowledge)},"count":${count}}\n`);
  closeSync(descriptor);
  return count;
}

interface Spent {
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** Makes a process say at its end, in its fourth file, how much CPU it has used. */
const reportCpu = `data:text/javascript,${encodeURIComponent(
  'import { writeSync } from "node:fs"; process.on("exit", () => { const { user, system } = process.cpuUsage(); writeSync(3, String(user + system)); });',
)}`;

/** A command from start to end, starting the process included. */
function ran(program: string, command: readonly string[]): Spent {
  const start = performance.now();
  const { status, stderr, output } = spawnSync(process.execPath, ["--import", reportCpu, program, ...command], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  if (status !== 0) throw new Error(`${command[0]} ended with ${status}: ${String(stderr)}`);
  return { wallMs: performance.now() - start, cpuMs: Number(String(output[3])) / 1_000 };
}

interface Served extends Spent {
  /** Resident memory once ready and idle for a while. */
  readonly residentBytes: number;
}

/** Until /readyz says yes; the CPU includes the end of the process. `mesh`: a folder or a capture. */
async function ready(program: string, mesh: string, certificates: string): Promise<Served> {
  const start = performance.now();
  const certificate = ["--tls-cert", join(certificates, "tls.crt"), "--tls-key", join(certificates, "tls.key")];
  const ports = ["--host", "127.0.0.1", "--port", "0", "--ops-port", "0", "--drain-seconds", "0"];
  const child = spawn(
    process.execPath,
    ["--import", reportCpu, program, "serve", "--mesh", mesh, ...certificate, ...ports],
    { stdio: ["ignore", "pipe", "inherit", "pipe"] },
  );
  const ended = once(child, "exit");
  const cpu = text(child.stdio[3] as Readable);
  let [wallMs, residentBytes] = [Number.NaN, Number.NaN];
  try {
    const port = await opsPortOf(child);
    while (!(await isReady(port))) await elapsed(5);
    wallMs = performance.now() - start;
    await elapsed(idleMs);
    residentBytes = await residentAt(port);
  } finally {
    child.kill("SIGTERM");
  }
  await ended;
  return { wallMs, cpuMs: Number(await cpu) / 1_000, residentBytes };
}

const idleMs = 3_000;

/** As /metrics says it. */
async function residentAt(port: number): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(page)?.[1]);
}

async function opsPortOf({ stdout }: ChildProcess): Promise<number> {
  if (stdout !== null)
    for await (const line of createInterface({ input: stdout })) {
      const { opsPort } = JSON.parse(line) as { opsPort?: number };
      if (opsPort !== undefined) return opsPort;
    }
  throw new Error("serve ended before it was ready");
}

const isReady = async (port: number): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;

const runs = 3;
async function timesOf<T>(work: () => T | Promise<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for (let i = 0; i < runs; i++) all.push(await work());
  return all;
}

async function medianOf(work: () => Spent): Promise<Spent> {
  const all = await timesOf(work);
  return { wallMs: median(all.map(({ wallMs }) => wallMs)), cpuMs: median(all.map(({ cpuMs }) => cpuMs)) };
}

/** `folder` holds tls.crt and tls.key, and takes what is written. */
export async function filesTable(folder: string): Promise<string> {
  const mesh = join(folder, "mesh");
  writeFolder(mesh, storedMesh(1_000));
  const sets = [2_000, 10_000].map((objects) => {
    const path = join(folder, `set-${objects}`);
    return { path, count: writeFolder(path, manifests(objects)) };
  });
  const capture = join(folder, "capture.json");
  const captured = writeCapture(capture, storedMesh(100_000));
  const rows: string[][] = [];
  for (const [title, program] of [
    ["source", source],
    ["built file", built],
  ] as const) {
    if (!existsSync(program)) continue;
    for (const { path, count } of sets) {
      const { wallMs, cpuMs } = await medianOf(() => ran(program, ["check", path, "--fail-on", "never"]));
      const perSecond = shown(count / (cpuMs / 1_000));
      rows.push([`check, ${shown(count)} objects in YAML, ${title}`, shown(wallMs), shown(cpuMs), perSecond]);
    }
    const explained = await medianOf(() => ran(program, ["explain", `namespace/${team(1)}`, "--mesh", capture]));
    rows.push([
      `explain a namespace, a capture of ${shown(captured)} objects, ${title}`,
      shown(explained.wallMs),
      shown(explained.cpuMs),
      shown(captured / (explained.cpuMs / 1_000)),
    ]);
    const audited = await medianOf(() => ran(program, ["audit", "--mesh", capture, "--fail-on", "never"]));
    rows.push([
      `audit, a capture of ${shown(captured)} objects, ${title}`,
      shown(audited.wallMs),
      shown(audited.cpuMs),
      shown(captured / (audited.cpuMs / 1_000)),
    ]);
    for (const [what, path] of [
      ["1,000 objects", mesh],
      [`a capture of ${shown(captured)} objects`, capture],
    ] as const) {
      const served = await timesOf(() => ready(program, path, folder));
      const resident = median(served.map(({ residentBytes }) => residentBytes));
      rows.push([
        `serve with ${what}, start to ready, ${title}`,
        shown(median(served.map(({ wallMs }) => wallMs))),
        shown(median(served.map(({ cpuMs }) => cpuMs))),
        `${shown(resident / 1e6)} MB resident when idle`,
      ]);
    }
  }
  const head = ["command", "time, ms", "CPU, ms", "objects a second of CPU, or memory"];
  return table("Commands: the process's start included", head, rows);
}
