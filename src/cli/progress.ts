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
