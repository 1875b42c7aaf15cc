import type { Terminal } from "./terminal.ts";

/** How often a terminal is told, in milliseconds. */
const everyMs = 200;

/** Counts objects on one line of a terminal while they are read. Without a terminal, nothing is printed. */
export function objectProgress({ hint }: Pick<Terminal, "hint">): { received(): void; end(): void } {
  let count = 0;
  let toldAtMs = performance.now();
  return {
    received() {
      count++;
      if (hint === undefined || count % 100 !== 0 || performance.now() - toldAtMs < everyMs) return;
      toldAtMs = performance.now();
      hint(`\r${count.toLocaleString("en")} objects read`);
    },
    end() {
      if (count > 0) hint?.(`\r${count.toLocaleString("en")} objects read\n`);
    },
  };
}

/** What takes less is not worth a line, in milliseconds. */
const quietMs = 500;

/** Tells on a terminal how far a command is, on one line that is gone in the end. Without a terminal, nothing is printed. */
export interface Progress {
  /** A file was read. */
  read(): void;
  /** What is done now, if it takes long in total. */
  doing(what: string): void;
  end(): void;
}

export function fileProgress({ hint }: Pick<Terminal, "hint">, now = (): number => performance.now()): Progress {
  const startMs = now();
  let count = 0;
  let toldAtMs = startMs + quietMs - everyMs;
  let width = 0;
  const tell = (text: string) => {
    hint?.(`\r${text.padEnd(width)}`);
    width = text.length;
  };
  return {
    read() {
      count++;
      if (hint === undefined || now() - toldAtMs < everyMs) return;
      toldAtMs = now();
      tell(`${count.toLocaleString("en")} files read`);
    },
    doing(what) {
      if (width > 0 || now() - startMs >= quietMs) tell(what);
    },
    end() {
      if (width > 0) hint?.(`\r${" ".repeat(width)}\r`);
      width = 0;
    },
  };
}
