import { styleText } from "node:util";
import { printableLine } from "../text/printable.ts";
import type { ConnectionChanges } from "./connections.ts";
import { textConnectionChanges } from "./connections-text.ts";
import { hanging, type Page } from "./page.ts";
import {
  acceptance,
  countsOf,
  filterOf,
  idleOf,
  loweredBecause,
  policiesOf,
  shownObject,
  skippedByReason,
  additionsOf,
} from "./phrases.ts";
import type { RelatedObject, Report, ReportedFinding } from "./report.ts";

type Style = (format: "red" | "yellow" | "dim" | "bold", text: string) => string;
const plain: Style = (_, text) => text;
const coloured: Style = (format, text) => styleText(format, text, { validateStream: false });

/** Sanitizes names and values of users, which must not start a line, move the cursor or set colours. */
const shown = (text: string): string => printableLine(text, 2000);

/** Formats the report as text: by file, each finding with its line, problem and fix; then skipped rules. */
export function textReport(report: Report, page: Page): string {
  const style = page.colour ? coloured : plain;
  const lines: string[] = [];
  let file: string | null | undefined;
  for (const finding of report.findings) {
    if (finding.file !== file)
      lines.push(...(lines.length > 0 ? [""] : []), style("bold", shown(finding.file ?? "(in no file)")));
    file = finding.file;
    lines.push(...shownFinding(finding, style, page));
  }
  if (lines.length > 0) lines.push("");
  // If no object was checked, skipped rules are not listed.
  if (report.summary.objects > 0) lines.push(...shownSkips(report, style, page));
  if (report.connections !== undefined) lines.push(...connectionsPart(report.connections, page));
  lines.push(...summaryOf(report).map((line) => hanging("", line, page)), "");
  return lines.join("\n");
}

const connectionsPart = (changes: ConnectionChanges, page: Page): readonly string[] => [
  "Who can reach what:",
  "",
  ...textConnectionChanges(changes, page).trimEnd().split("\n"),
  "",
];

function shownFinding(finding: ReportedFinding, style: Style, page: Page): string[] {
  const { mode, rule, object, path, message, fix, related } = finding;
  const because = loweredBecause(finding);
  const reason = because === undefined ? "" : ` (${because})`;
  const place = finding.line === null ? "-" : `${finding.line}:${finding.column ?? 1}`;
  const shade = mode === "deny" ? "red" : mode === "warn" ? "yellow" : "dim";
  const indent = " ".repeat(10);
  return [
    [`  ${place.padEnd(7)} `, `${style(shade, mode)}  ${shown(`${shownObject(object)}: ${message}`)}${shown(reason)}`],
    [indent, style("dim", [shown(path), rule].filter((part) => part !== "").join("  "))],
    ...(related.length > 0 ? [[indent, `see ${shown(related.map(shownRelated).join(", "))}`] as const] : []),
    [indent, `fix: ${shown(fix)}`],
    ...additionsOf(finding).map((one) => [indent, shown(`${one[0]?.toLowerCase()}${one.slice(1)}`)] as const),
  ].map(([head = "", body = ""]) => hanging(head, body, page));
}

const shownRelated = ({ file, line, ...object }: RelatedObject): string =>
  shownObject(object) + (file === null ? "" : ` (${file}:${line ?? 1})`);

function shownSkips(report: Report, style: Style, page: Page): string[] {
  const accepted = report.accepted.map(
    (finding) => ["accepted: ", `${finding.rule} (${acceptance(finding)})`] as const,
  );
  const skipped = skippedByReason(report).map((text) => ["skipped: ", text] as const);
  return [...accepted, ...skipped].map(([head, body]) => style("dim", hanging(head, shown(body), page)));
}

function summaryOf(report: Report): readonly string[] {
  const first = countsOf(report);
  if (report.summary.objects === 0) return [first];
  return [first, ...filterOf(report.basis).map(shown), shown(policiesOf(report.basis)), ...idleOf(report.basis)];
}
