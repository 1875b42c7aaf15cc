import { createInterface } from "node:readline/promises";
import { styleText } from "node:util";
import { jsonErrorLines } from "./cli/error-lines.ts";
import { run } from "./cli/program.ts";
import { byKeyboard, outputProblem } from "./cli/terminal.ts";

const argv = process.argv.slice(2);
/** Only the server drains its connections when it is asked to stop. */
const isServer = argv[0] === "serve";

/** A server without a terminal writes only lines of JSON, because something collects its streams as one log. */
const errorLines = isServer && !process.stderr.isTTY ? jsonErrorLines() : undefined;
const tell = errorLines?.tell ?? ((text: string): void => write(process.stderr, text));

const stop = new AbortController();
// A listener runs only when the program waits, while Ctrl-C without one ends a command that is busy at once. But the first
// process of a container gets no signal that it does not listen to.
if (isServer || process.pid === 1)
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => {
      // A second signal ends the server without draining.
      if (!isServer || stop.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 143);
      stop.abort(signal === "SIGINT" && process.stdin.isTTY ? byKeyboard : undefined);
    });
// Without a listener, Node opens its debugger on a port of loopback, for everybody on this machine.
process.on("SIGUSR1", () => undefined);

const reload = new EventTarget();
if (isServer) {
  // A terminal that was closed ends the server as Ctrl-C does; otherwise nobody would know that it is still running.
  process.on("SIGHUP", () =>
    process.stdin.isTTY ? stop.abort(byKeyboard) : reload.dispatchEvent(new Event("reload")),
  );
  process.on("SIGUSR2", () => undefined);
}
if (errorLines !== undefined) {
  process.removeAllListeners("warning");
  process.on("warning", errorLines.warn);
  process.on("uncaughtException", (error: unknown) => {
    errorLines.crash(error);
    process.exit(1);
  });
}

/** A reader such as `| head` may close its pipe early, which is no error. */
const closed = new Set<NodeJS.WriteStream>();
/**
 * A command goes on without its reader, because its exit code, which a shell with pipefail reads, is only known at its end: that of
 * `check | head` must not hide a denial. A server whose log nobody reads has no end of its own.
 */
function onFailure(stream: NodeJS.WriteStream, error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE" && !isServer) return void closed.add(stream);
  if (stream !== process.stderr) tell(outputProblem(error));
  process.exit(2);
}
const streams = errorLines === undefined ? [process.stdout, process.stderr] : [process.stdout];
for (const stream of streams) stream.on("error", (error: NodeJS.ErrnoException) => onFailure(stream, error));

function write(stream: NodeJS.WriteStream, text: string): void {
  if (!closed.has(stream)) stream.write(text);
}

/** Without line editing, so that Ctrl-C reaches the process. */
async function ask(question: string): Promise<string | undefined> {
  const lines = createInterface({ input: process.stdin, output: process.stdout, terminal: false });
  const end = new Promise<undefined>((resolve) => lines.once("close", () => resolve(undefined)));
  try {
    return await Promise.race([lines.question(question, { signal: stop.signal }), end]);
  } catch {
    return undefined;
  } finally {
    lines.close();
  }
}

// A function, because the script of the built file cannot use top-level await.
async function main(): Promise<void> {
  process.exitCode = await run(argv, {
    input: process.stdin,
    out: (text) => write(process.stdout, text),
    error: tell,
    // Node's own detection: FORCE_COLOR, NO_COLOR, NODE_DISABLE_COLORS, TERM, and what kind of terminal it is.
    colour: styleText("bold", "?", { stream: process.stdout }) !== "?",
    // Some terminals report 0.
    columns: process.stdout.columns || undefined,
    errorColumns: process.stderr.columns || undefined,
    env: process.env,
    hint: process.stderr.isTTY ? (text) => write(process.stderr, text) : undefined,
    ask: process.stdin.isTTY && process.stdout.isTTY ? ask : undefined,
    stop: stop.signal,
    onReload: (listener) => reload.addEventListener("reload", listener),
  });
}

void main();
