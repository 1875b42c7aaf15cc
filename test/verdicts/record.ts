import { writeFileSync } from "node:fs";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { asWritten, type CaseLine, corpus, type Expected, fileOf, linesOf } from "./corpus.ts";
import { audited, judged } from "./judged.ts";

// Writes down what Meshward says now of changes and audits of the corpus, where that was intended:
//
//   npm exec -- node test/verdicts/record.ts --since "a missing Gateway only warns" "gateways/example 3" "audit gateways/*"
//
// Names are those that test/verdicts.test.ts prints; a `*` at the end stands for all that begin so. What was expected
// before stays on the line, and the new verdict follows it with the reason. Recording again for the same reason replaces
// it. Without --since only what has no expectation yet is written: a new line of changes.jsonl with `"expected": []`.

const { values, positionals } = parseArgs({ options: { since: { type: "string" } }, allowPositionals: true });
if (positionals.length === 0) throw new Error("name the changes to record, as the comment in this file shows");

const isNamed = ({ name }: { readonly name: string }): boolean =>
  positionals.some((wanted) => (wanted.endsWith("*") ? name.startsWith(wanted.slice(0, -1)) : name === wanted));

const { changes, audits } = corpus();
const verdicts = new Map(changes.filter(isNamed).map((change) => [change.name, asWritten(judged(change))]));
const reports = new Map(audits.filter(isNamed).map((one) => [one.name, audited(one)]));
if (verdicts.size + reports.size === 0) throw new Error(`nothing is named ${positionals.join(", ")}`);
record("changes", linesOf("changes"), verdicts);
record("audits", linesOf("audits"), reports);

/** Lines that are not named, and those that expect what is found already, stay as they are to the byte. */
function record<T extends object>(
  file: "changes" | "audits",
  lines: readonly CaseLine<T>[],
  found: ReadonlyMap<string, T>,
): void {
  let written = 0;
  const recorded = lines.map((line) => {
    const now = found.get(line.name);
    if (now === undefined || isSame(line.expected.at(-1), now)) return line;
    written++;
    return { ...line, expected: [...standing(line), { ...now, ...reason(line) }] };
  });
  if (written > 0) writeFileSync(fileOf(file), recorded.map((line) => `${JSON.stringify(line)}\n`).join(""));
  process.stdout.write(`${file}: ${written} written\n`);
}

function isSame<T extends object>(expected: Expected<T> | undefined, now: T): boolean {
  if (expected === undefined) return false;
  const { since: _, ...verdict } = expected;
  return isDeepStrictEqual(verdict, now);
}

/** What was expected before, without what the same reason gave. */
function standing<T>({ expected }: CaseLine<T>): readonly Expected<T>[] {
  return values.since === undefined ? expected : expected.filter(({ since }) => since !== values.since);
}

function reason({ name, expected }: CaseLine<unknown>): { readonly since?: string } {
  if (expected.length === 0) return {};
  if (values.since === undefined) throw new Error(`${name} has an expectation; say with --since why another one holds`);
  return { since: values.since };
}
