import { Readable } from "node:stream";
import { run } from "../../src/cli/program.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs a command line in this process, as main.ts does with the process's own streams. */
export async function meshward(
  argv: readonly string[],
  options: {
    input?: string;
    stop?: AbortSignal;
    columns?: number;
    hint?: (text: string) => void;
    ask?: (question: string) => Promise<string | undefined>;
    env?: Readonly<Record<string, string>>;
  } = {},
): Promise<Ran> {
  let out = "";
  let error = "";
  const code = await run(argv, {
    input: Readable.from([options.input ?? ""]),
    out(text) {
      out += text;
    },
    error(text) {
      error += text;
    },
    colour: false,
    columns: options.columns,
    errorColumns: options.columns,
    hint: options.hint,
    ask: options.ask,
    env: options.env ?? {},
    stop: options.stop ?? new AbortController().signal,
  });
  return { code, out, error };
}
