import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { after } from "node:test";

const main = join(import.meta.dirname, "../../src/main.ts");
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill("SIGKILL");
});

export type Line = Readonly<Record<string, unknown>>;

export interface Server {
  readonly child: ChildProcess;
  readonly port: number;
  readonly opsPort: number;
  /** Lines of both streams so far. */
  readonly log: () => readonly Line[];
  /** Resolves with the first line that has this message, also one that was there before. */
  logged(message: string): Promise<Line>;
}

/** Starts `meshward serve` as a process of its own and waits until its log says that it serves. */
export const serve = (...argv: string[]): Promise<Server> => serveWith({}, ...argv);

export interface Started {
  /** The file to run. */
  readonly file?: string;
  /** Options of Node. */
  readonly node?: readonly string[];
}

export async function serveWith({ file = main, node = [] }: Started, ...argv: string[]): Promise<Server> {
  const child = spawn(process.execPath, [...node, file, "serve", ...argv], { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let text = "";
  let look = (): void => undefined;
  // What collects the logs of containers takes both streams for one.
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (chunk) => {
      text += String(chunk);
      look();
    });
  let hasEnded = false;
  child.once("close", () => {
    hasEnded = true;
    look();
  });
  const log = () =>
    text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  const logged = (message: string) =>
    new Promise<Line>((resolve, reject) => {
      look = () => {
        const found = log().find(({ msg }) => msg === message);
        if (found !== undefined) resolve(found);
        else if (hasEnded) reject(new Error(`it ended without the line ${message}: ${text}`));
      };
      look();
    });
  const serving = await logged("serving");
  assert.ok(Number(serving.port) > 0);
  return { child, port: Number(serving.port), opsPort: Number(serving.opsPort), log, logged };
}
