// Times are CPU times: on a machine that others use too they say more than a clock does.

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** CPU time of this thread alone, in milliseconds: those that collect garbage meanwhile delay nobody. */
export function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

interface Repetition {
  readonly rounds: number;
  readonly repeat: number;
}

/** Microseconds of CPU for one call: the median of the rounds, after one round to warm up. */
export function cpuOf(work: (i: number) => unknown, { rounds, repeat }: Repetition): number {
  const times: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const start = cpuUs();
    for (let i = 0; i < repeat; i++) work(i);
    times.push((cpuUs() - start) / repeat);
  }
  return median(times.slice(1));
}

/** Bytes on the heap that something still refers to. */
export function heapBytes(): number {
  if (globalThis.gc === undefined) throw new Error("the bench needs node --expose-gc");
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

export const shown = (value: number): string => {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value >= 10 ? value.toFixed(0) : value.toFixed(value >= 1 ? 1 : 2);
};

export function table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    `### ${title}`,
    "",
    line(head),
    line(head.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...rows.map(line),
    "",
  ].join("\n");
}
