import { styleText } from "node:util";
import { run } from "./cli/program.ts";
import { byKeyboard, outputProblem } from "./cli/terminal.ts";

const argv = process.argv.slice(2);
/** Only the server drains its connections when it is asked to stop. */
const isServer = argv[0] === "serve";

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    // A second signal ends the server without draining.
    if (!isServer || stop.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 143);
    stop.abort(signal === "SIGINT" && process.stdin.isTTY ? byKeyboard : undefined);
  });
// A reader such as `| head` may close the pipe early, which is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  process.stderr.write(outputProblem(error));
  process.exit(2);
});

// A function, because the script of the built file cannot use top-level await.
async function main(): Promise<void> {
  process.exitCode = await run(argv, {
    input: process.stdin,
    out: (text) => void process.stdout.write(text),
    error: (text) => void process.stderr.write(text),
    // Node's own detection: FORCE_COLOR, NO_COLOR, NODE_DISABLE_COLORS, TERM, and what kind of terminal it is.
    colour: styleText("bold", "?", { stream: process.stdout }) !== "?",
    // Some terminals report 0.
    columns: process.stdout.columns || undefined,
    env: process.env,
    hint: process.stderr.isTTY ? (text) => void process.stderr.write(text) : undefined,
    stop: stop.signal,
  });
}

void main();
