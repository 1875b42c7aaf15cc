import { type ChildProcess, spawn } from "node:child_process";

/** How a tool ended: its output, or why there is none, as the rest of a sentence that begins with the tool. */
export type ToolOutput = { readonly text: string } | { readonly problem: string; readonly isTimeout?: boolean };

export interface ToolLimits {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  readonly mostBytes: number;
}

/**
 * Runs a tool without a shell and without input. What takes too long or prints too much is stopped together with everything that it
 * started: helm and kustomize start plugins, git and shells, which would go on otherwise. Never throws.
 */
export function runTool(tool: string, args: readonly string[], limits: ToolLimits): Promise<ToolOutput> {
  return new Promise((resolve) => new ToolProcess(tool, args, limits, resolve));
}

/** In bytes. */
const mostErrors = 64 << 10;
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

class ToolProcess {
  readonly #child: ChildProcess;
  readonly #limits: ToolLimits;
  readonly #resolve: (output: ToolOutput) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #output: Buffer[] = [];
  readonly #errors: Buffer[] = [];
  #printed = 0;
  #complained = 0;

  constructor(tool: string, args: readonly string[], limits: ToolLimits, resolve: (output: ToolOutput) => void) {
    [this.#limits, this.#resolve] = [limits, resolve];
    // Ctrl-C reaches the group of Meshward alone, maybe before spawn returns: the tool already runs then.
    for (const signal of signals) process.on(signal, this.#interrupted);
    // A process group of its own, as far as there are some.
    const detached = process.platform !== "win32";
    this.#child = spawn(tool, args, { env: { ...limits.env }, stdio: ["ignore", "pipe", "pipe"], detached });
    this.#child.stdout?.on("data", (part: Buffer) => this.#take(part));
    this.#child.stderr?.on("data", (part: Buffer) => this.#takeError(part));
    this.#child.on("error", (error) => this.#end({ problem: `failed: ${error.message}` }));
    this.#child.once("close", (code, signal) => this.#end(this.#result(code, signal)));
    const seconds = limits.timeoutMs / 1000;
    this.#timer = setTimeout(
      () => this.#stop({ problem: `did not end within ${seconds} seconds`, isTimeout: true }),
      limits.timeoutMs,
    );
  }

  #take(part: Buffer): void {
    this.#printed += part.length;
    if (this.#printed <= this.#limits.mostBytes) this.#output.push(part);
    else this.#stop({ problem: `printed more than ${this.#limits.mostBytes >> 20} MiB` });
  }

  #takeError(part: Buffer): void {
    this.#complained += part.length;
    if (this.#complained <= mostErrors) this.#errors.push(part);
  }

  #result(code: number | null, signal: NodeJS.Signals | null): ToolOutput {
    if (code === 0) return { text: Buffer.concat(this.#output).toString("utf8") };
    const said = Buffer.concat(this.#errors).toString("utf8");
    const first = said.split("\n").find((line) => line.trim() !== "");
    return {
      problem: `failed: ${(first ?? (signal === null ? `exit code ${code}` : `it was ended by ${signal}`)).slice(0, 300)}`,
    };
  }

  readonly #interrupted = (signal: NodeJS.Signals): void => {
    this.#stop({ problem: `was ended by ${signal}` });
    // Without the listener, the signal ends Meshward as it would have before.
    process.kill(process.pid, signal);
  };

  #stop(output: ToolOutput): void {
    const { pid } = this.#child;
    try {
      if (pid !== undefined && process.platform !== "win32") process.kill(-pid, "SIGKILL");
      else this.#child.kill("SIGKILL");
    } catch {
      // It ended in the meantime.
    }
    // A process that left the group may still hold the streams.
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#end(output);
  }

  #end(output: ToolOutput): void {
    clearTimeout(this.#timer);
    for (const signal of signals) process.off(signal, this.#interrupted);
    this.#resolve(output);
  }
}
