// Many fuzzed reviews over TLS, checked answer by answer: `npm run fuzz -- 200000 7` sends so many, with this seed.

import { checkAnswer, Fuzzer } from "../http/fuzzed-reviews.ts";
import { startFuzzedServer } from "../http/fuzzed-server.ts";

const [count = 20_000, seed = Date.now() % 1_000_000] = process.argv.slice(2).map(Number);
const connections = 8;

const server = await startFuzzedServer();
const fuzzer = new Fuzzer(seed);
const answers = new Map<string, number>();
const inMiB = (bytes: number) => Math.round(bytes / 1_048_576);
const residentMiB = () => inMiB(process.memoryUsage.rss());
/** What a garbage collection leaves. Resident memory tells nothing of leaks: V8 lets garbage grow as long as memory is free. */
function keptMiB(): number {
  globalThis.gc?.();
  return inMiB(process.memoryUsage().heapUsed);
}
/** Caches fill during the first reviews; what is kept after them may grow by this much. */
const growthMiB = 16;
const warm = Math.floor(count * 0.75);
let keptWhenWarm = keptMiB();
let left = count;
let slowestMs = 0;

async function send(): Promise<void> {
  while (left-- > 0) {
    const fuzzed = fuzzer.next();
    const start = performance.now();
    const { status, text } = await server.post(fuzzed.body);
    slowestMs = Math.max(slowestMs, performance.now() - start);
    checkAnswer(fuzzed, status, text);
    const outcome = `${status} ${text.includes('"allowed":true') ? "allowed" : "denied"}${fuzzed.isDenied ? ", has to be" : ""}`;
    answers.set(outcome, (answers.get(outcome) ?? 0) + 1);
    if (left === warm) keptWhenWarm = keptMiB();
    if (left % 20_000 === 0) process.stderr.write(`${left} left, ${residentMiB()} MiB\n`);
  }
}
const start = performance.now();
await Promise.all(Array.from({ length: connections }, send));
const seconds = Math.round((performance.now() - start) / 1_000);
process.stdout.write(`${count} reviews, seed ${seed}, ${seconds} s, slowest answer ${Math.round(slowestMs)} ms\n`);
for (const [outcome, number] of [...answers].sort(([one], [other]) => (one < other ? -1 : 1)))
  process.stdout.write(`${outcome}: ${number}\n`);
const kept = keptMiB();
process.stdout.write(`internal errors: ${server.failures()}; resident memory ${residentMiB()} MiB\n`);
process.stdout.write(`kept after garbage collection: ${keptWhenWarm} MiB after a quarter, ${kept} MiB at the end\n`);
await server.close();
if (server.failures() > 0 || kept > keptWhenWarm + growthMiB) process.exitCode = 1;
