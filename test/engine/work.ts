// Counts the work of an evaluation: how often each block of src/{engine,mesh,rules,view} is executed, and how many objects
// are visited, which lists of V8 copy without executing a block. Both counts are the same in every run.
//
// Import this module before any module of src: V8 counts blocks only in functions that it compiles afterwards.

import { type Profiler, Session } from "node:inspector";
import { setFlagsFromString } from "node:v8";

// Optimized code loses counts.
for (const flag of ["--no-opt", "--no-maglev"]) setFlagsFromString(flag);

const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });

const counted = /\/src\/(?:engine|mesh|rules|view)\//;

/** The number of executed blocks since the last call. */
function executedBlocks(): number {
  let blocks = 0;
  session.post("Profiler.takePreciseCoverage", (error, { result }: Profiler.TakePreciseCoverageReturnType) => {
    if (error) throw error;
    const functions = result.filter(({ url }) => counted.test(url)).flatMap((script) => script.functions);
    for (const { ranges } of functions) for (const { count } of ranges) blocks += count;
  });
  return blocks;
}

/** Starts counting again: what was executed so far belongs to nothing. */
export const startCounting = (): void => void executedBlocks();

/**
 * The work of a synchronous function since startCounting or the previous call: reading the counts takes longer than most
 * evaluations. Between them no code of src/ may run. `visit` is to be called with the number of objects that it visits.
 */
export function workOf(run: (visit: (objects: number) => void) => void): number {
  let visited = 0;
  run((objects) => (visited += objects));
  return executedBlocks() + visited;
}
