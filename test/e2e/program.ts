import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** A program of the suite that runs until it is stopped. */
export interface Program {
  readonly name: string;
  /** What it wrote so far, to both of its outputs. */
  output(): string;
  /** Its exit code, or the signal that ended it; undefined while it runs. */
  ended(): string | undefined;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL for what has not ended after `graceMs`. */
  stop(graceMs?: number): Promise<void>;
}

export interface ProgramOptions {
  readonly name: string;
  readonly path: string;
  readonly args: readonly string[];
  /** Where what it writes goes. */
  readonly logPath: string;
  readonly env?: Readonly<Record<string, string>>;
}

const running = new Set<ChildProcess>();
// Nothing outlives the suite, however it ends.
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

export function startProgram({ name, path, args, logPath, env = {} }: ProgramOptions): Program {
  const log = openSync(logPath, "a");
  const child = spawn(path, args, { stdio: ["ignore", log, log], env: { ...process.env, ...env } });
  closeSync(log);
  running.add(child);
  let end: string | undefined;
  const ended = new Promise<void>((resolve) => {
    const settle = (how: string) => {
      end ??= how;
      running.delete(child);
      resolve();
    };
    child.once("error", (error) => settle(error.message));
    child.once("exit", (code, signal) => settle(signal ?? `exit code ${code}`));
  });
  return {
    name,
    output: () => readFileSync(logPath, "utf8"),
    ended: () => end,
    signal: (signal) => void child.kill(signal),
    async stop(graceMs = 10_000) {
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      const abort = new AbortController();
      const isOver = await Promise.race([
        ended.then(() => true),
        wait(graceMs, false, { signal: abort.signal }).catch(() => true),
      ]);
      abort.abort();
      if (!isOver) child.kill("SIGKILL");
      await ended;
    },
  };
}

/**
 * Asks again until there is an answer. Throws, with what was found last, when there is none in time or when one of
 * `programs` has ended.
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  { timeoutMs = 60_000, everyMs = 50, programs = [] as readonly Program[] } = {},
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let problem = "";
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      problem = `: ${String(error)}`;
    }
    const ended = programs.find((program) => program.ended() !== undefined);
    if (ended) throw new Error(`${what}: ${ended.name} ended (${ended.ended()}):\n${tail(ended.output())}`);
    if (performance.now() > end)
      throw new Error([`${what}: not within ${timeoutMs} ms${problem}`, ...programs.map(shown)].join("\n"));
    await wait(everyMs);
  }
}

const shown = (program: Program): string => `${program.name}:\n${tail(program.output())}`;
const tail = (text: string): string => text.trim().split("\n").slice(-15).join("\n");

/**
 * Free ports of this machine. Below the range from which the system gives out its own, so that nothing takes them
 * before they are used.
 */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries++) {
    if (tries > 1000) throw new Error(`no ${count} free ports between 20000 and 30000`);
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
