import { styleText } from "node:util";
import { counted } from "../text/phrases.ts";
import { printableLine } from "../text/printable.ts";
import { hanging, type Page } from "./page.ts";
import { type Difference, type TestedCase, type TestReport, uncovered } from "./test-report.ts";

type Style = (format: "red" | "green" | "dim" | "bold", text: string) => string;
const plain: Style = (_, text) => text;
const coloured: Style = (format, text) => styleText(format, text, { validateStream: false });
const shown = (text: string): string => printableLine(text, 2000);

/** Formats the results by file: a line for each case, and the differences of those that fail. */
export function textTestReport(report: TestReport, page: Page): string {
  const style = page.colour ? coloured : plain;
  const files = report.files.flatMap(({ file, name, cases }) => [
    style("bold", shown(file === name ? file : `${file}: ${name}`)),
    ...cases.flatMap((one) => caseLines(one, style, page)),
    "",
  ]);
  return [...files, ...summaryLines(report, style, page), ""].join("\n");
}

const marks = { passed: "✓", failed: "✗", error: "✗" } as const;

function caseLines({ name, line, status, outcome, differences, messages }: TestedCase, style: Style, page: Page) {
  const isPassed = status === "passed";
  const mark = style(isPassed ? "green" : "red", marks[status]);
  const place = isPassed || line === null ? "" : style("dim", ` (line ${line})`);
  const first = hanging(`  ${mark} `, `${shown(name)}${place}`, page);
  if (isPassed) return [first];
  if (status === "error") return [first, ...messages.map((text) => hanging("      ", shown(text), page))];
  return [
    first,
    hanging("      ", `Meshward: ${shown(outcome)}`, page),
    ...differences.flatMap((one) => differenceLines(one, style, page)),
    ...messages.flatMap((text) => text.split("\n").map((part) => hanging("        ", style("dim", shown(part)), page))),
  ];
}

/** Like a diff: `-` is expected and missing, `+` is there and not expected. */
const differenceLines = ({ what, expected, found }: Difference, style: Style, page: Page): readonly string[] => [
  `      expect.${what}:`,
  ...expected.map((text) => style("red", hanging("      - ", shown(text), page))),
  ...found.map((text) => style("green", hanging("      + ", shown(text), page))),
];

function summaryLines(report: TestReport, style: Style, page: Page): readonly string[] {
  const { summary, coverage, files, errors } = report;
  const { passed, failed } = summary;
  const broken = summary.errors - errors.length;
  const counts = [
    `${passed} passed`,
    `${failed} failed`,
    ...(broken > 0 ? [`${broken} could not run`] : []),
    ...(errors.length > 0 ? [counted(errors.length, "error")] : []),
  ];
  const missing = uncovered(report);
  const covered = coverage.settings.filter(({ isCovered }) => isCovered).length;
  return [
    style(
      summary.failed + summary.errors > 0 ? "red" : "green",
      `${counts.join(", ")} in ${counted(files.length, "file")}`,
    ),
    ...(coverage.settings.length === 0
      ? []
      : [`${covered} of ${counted(coverage.settings.length, "setting")}, exceptions and intents are tested`]),
    ...(missing.length === 0 ? [] : [hanging("not tested: ", shown(missing.join("; ")), page)]),
    `${coverage.rules.found} of ${coverage.rules.all} rules found something`,
  ];
}
