import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after } from "node:test";
import { program } from "./program.ts";

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
  /** The file to run. Default: the program that tests share. */
  readonly file?: string;
  /** Options of Node. */
  readonly node?: readonly string[];
}

export async function serveWith({ file, node = [] }: Started, ...argv: string[]): Promise<Server> {
  const args = [...node, file ?? (await program()), "serve", ...argv];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let text = "";
  let look = (): void => undefined;
  // Each line is parsed once: under load there are thousands, and tests ask for them every few milliseconds.
  const lines: Line[] = [];
  const unparsed: string[] = [];
  let rest = "";
  // What collects the logs of containers takes both streams for one.
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (chunk) => {
      text += String(chunk);
      const parts = (rest + String(chunk)).split("\n");
      rest = parts.pop() ?? "";
      unparsed.push(...parts);
      look();
    });
  let hasEnded = false;
  child.once("close", () => {
    hasEnded = true;
    look();
  });
  const log = (): readonly Line[] => {
    for (const line of unparsed.splice(0)) lines.push(JSON.parse(line) as Line);
    return [...lines];
  };
  const logged = (message: string) =>
    new Promise<Line>((resolve, reject) => {
      look = () => {
        const found = log().find(({ msg }) => msg === message);
        if (found === undefined && !hasEnded) return;
        look = () => undefined;
        if (found !== undefined) resolve(found);
        else reject(new Error(`it ended without the line ${message}: ${text}`));
      };
      look();
    });
  const serving = await logged("serving");
  assert.ok(Number(serving.port) > 0);
  return { child, port: Number(serving.port), opsPort: Number(serving.opsPort), log, logged };
}
