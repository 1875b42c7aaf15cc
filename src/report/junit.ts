import { printableLine, printableText } from "../text/printable.ts";
import { acceptance, countsOf, loweredBecause, policiesOf, shownObject, additionsOf } from "./phrases.ts";
import type { Report, ReportedFinding } from "./report.ts";

export interface JunitCase {
  readonly name: string;
  /** Groups cases in most viewers: a file, or the name of a test. */
  readonly className: string;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly seconds?: number;
  /** Absent: it passed. */
  readonly outcome?: {
    readonly kind: "failure" | "error" | "skipped";
    readonly type?: string;
    readonly message: string;
    readonly details?: string;
  };
  /** Text that does not make the case fail. */
  readonly output?: string;
}

export interface JunitSuite {
  readonly name: string;
  readonly timestamp?: string;
  readonly cases: readonly JunitCase[];
}

/**
 * Findings as test cases in the XML that JUnit's reporter for Ant writes, which CI systems read. Denials and errors fail,
 * accepted findings are skipped, other findings pass with output. The first case says what was checked, so that a suite is
 * never empty.
 */
export function junitReport(report: Report): string {
  const { findings, accepted, errors, basis } = report;
  return junitDocument([
    {
      name: "meshward check",
      timestamp: basis.time,
      cases: [
        { name: countsOf(report), className: "meshward", output: policiesOf(basis) },
        ...errors.map(({ file, line, message }) => ({
          ...{ name: "cannot be checked", className: file ?? "meshward", file: file ?? undefined },
          ...{ line: line ?? undefined, outcome: { kind: "error", message } as const },
        })),
        ...findings.map(caseOf),
        ...accepted.map((finding) => ({
          ...caseOf(finding),
          outcome: { kind: "skipped", message: acceptance(finding) } as const,
        })),
      ],
    },
  ]);
}

function caseOf(finding: ReportedFinding): JunitCase {
  const { rule, mode, object, file, line, column, path, message, fix, docs } = finding;
  const because = loweredBecause(finding);
  const place = file === null ? "" : `${file}:${line ?? 1}:${column ?? 1} `;
  const details = [
    `${place}${shownObject(object)} ${path}`.trim(),
    because === undefined ? message : `${message} (${because})`,
    `Fix: ${fix}`,
    ...additionsOf(finding),
    docs,
  ].join("\n");
  return {
    name: `${rule}: ${shownObject(object)}`,
    className: file ?? shownObject(object),
    file: file ?? undefined,
    line: line ?? undefined,
    ...(mode === "deny"
      ? { outcome: { kind: "failure", type: rule, message, details } }
      : { output: `${mode}: ${details}` }),
  };
}

/** A JUnit document, with a final newline. */
export function junitDocument(suites: readonly JunitSuite[]): string {
  const body = suites.flatMap(({ name, timestamp, cases }) => [
    `  <testsuite${attributes({ name, ...totals(cases), timestamp })}>`,
    ...cases.flatMap(shownCase),
    "  </testsuite>",
  ]);
  const all = totals(suites.flatMap(({ cases }) => cases));
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: "meshward", ...all })}>`,
    ...body,
    "</testsuites>",
    "",
  ].join("\n");
}

function totals(cases: readonly JunitCase[]) {
  const count = (kind: string) => cases.filter(({ outcome }) => outcome?.kind === kind).length;
  const time = cases.reduce((sum, { seconds = 0 }) => sum + seconds, 0).toFixed(3);
  const [failures, errors, skipped] = ["failure", "error", "skipped"].map(count);
  return { tests: cases.length, failures, errors, skipped, time };
}

function shownCase({ name, className, file, line, seconds = 0, outcome, output }: JunitCase): readonly string[] {
  const open = `    <testcase${attributes({ name, classname: className, file, line, time: seconds.toFixed(3) })}`;
  if (outcome === undefined && output === undefined) return [`${open}/>`];
  const inner: string[] = [];
  if (outcome !== undefined) {
    const { kind, type, message, details } = outcome;
    const tag = `      <${kind}${attributes({ type, message })}`;
    inner.push(details === undefined ? `${tag}/>` : `${tag}>${shownText(details)}</${kind}>`);
  }
  if (output !== undefined) inner.push(`      <system-out>${shownText(output)}</system-out>`);
  return [`${open}>`, ...inner, "    </testcase>"];
}

const attributes = (values: Readonly<Record<string, string | number | undefined>>): string =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}="${escaped(printableLine(String(value), 2000))}"`)
    .join("");

const shownText = (text: string): string => escaped(printableText(text, 20_000));

/** Noncharacters, which XML 1.0 cannot contain (https://www.w3.org/TR/xml/#charsets). Controls are gone already. */
const forbidden = /[\ufffe\uffff]/g;
const references: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
};
const escaped = (text: string): string =>
  text.replace(forbidden, "").replace(/[&<>"']/g, (character) => references[character] ?? "");
