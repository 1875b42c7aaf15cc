import { counted } from "../text/phrases.ts";
import type { MarkedLine } from "./effects.ts";
import type { Destination } from "./format.ts";
import { comment, type Section } from "./markdown-comment.ts";
import { connectionsSection } from "./connections-markdown.ts";
import { markdownBlock, markdownCode, markdownLine } from "./markdown-text.ts";
import {
  acceptance,
  countsOf,
  filterOf,
  loweredBecause,
  policiesOf,
  shownObject,
  skippedByReason,
  additionsOf,
} from "./phrases.ts";
import type { Report, ReportedError, ReportedFinding } from "./report.ts";

/** The headings of findings by their mode. */
export const markdownHeadings = { deny: "Denied", warn: "Warnings", audit: "Only recorded" } as const;

/** A comment for a pull request: the outcome, findings by their mode, and what was checked. */
export function markdownReport(report: Report, to: Destination): string {
  const { findings, accepted, errors } = report;
  const of = (mode: ReportedFinding["mode"]) =>
    findings.filter((finding) => finding.mode === mode).map((finding) => itemOf(finding, to));
  return comment(outcomeOf(report), [
    ...changesOf(report),
    ...(report.connections === undefined ? [] : [connectionsSection(report.connections)]),
    { heading: "Not checked", items: errors.map((error) => errorItem(error, to)), noun: "error" },
    { heading: markdownHeadings.deny, items: of("deny"), noun: "denial" },
    { heading: markdownHeadings.warn, items: of("warn"), noun: "warning", isFolded: of("warn").length > openWarnings },
    { heading: markdownHeadings.audit, items: of("audit"), noun: "finding", isFolded: true },
    {
      heading: "Accepted by exceptions",
      items: accepted.map((finding) => `- ${ruleLink(finding)}: ${markdownLine(acceptance(finding))}`),
      noun: "finding",
      isFolded: true,
    },
    { heading: "What was checked", items: basisItems(report), noun: "line", isFolded: true },
  ]);
}

/** What the change does to the mesh, before and after; nothing without a mesh before the change. */
function changesOf({ changes }: Report): readonly Section[] {
  if (changes === undefined) return [];
  const { effects, unexplained } = changes;
  const items = effects.map(
    ({ title, lines }) => `**${markdownLine(title)}**\n\n${markdownBlock(shownLines(lines, ""), "diff")}\n`,
  );
  const none = effects.length === 0 ? ["No effective setting of a namespace or host changes."] : [];
  const more =
    unexplained === 0
      ? ""
      : ` (${counted(unexplained, "more namespace or host", "more namespaces and hosts")} not compared)`;
  const heading = `What changes in the mesh${more}`;
  return [{ heading, items: [...items, ...none], noun: "change", isFilledLast: true }];
}

const shownLines = (lines: readonly MarkedLine[], indent: string): readonly string[] =>
  lines.flatMap(({ mark, text, lines: inner }) => [`${mark} ${indent}${text}`, ...shownLines(inner, `${indent}  `)]);

/** So many warnings are shown without a click. */
const openWarnings = 10;

function outcomeOf({ summary, errors }: Report): string {
  const { deny, warn, objects } = summary;
  const parts = [
    ...(deny > 0 ? [`❌ ${counted(deny, "problem")}`] : []),
    ...(errors.length > 0 ? [`❌ ${counted(errors.length, "error")}`] : []),
    ...(warn > 0 ? [`⚠️ ${counted(warn, "warning")}`] : []),
  ];
  const checked = `in ${counted(objects, "object")}`;
  return parts.length === 0 ? `Meshward: ✅ no problems ${checked}` : `Meshward: ${parts.join(", ")} ${checked}`;
}

function itemOf(finding: ReportedFinding, to: Destination): string {
  const { object, path, message, fix, file, line, related } = finding;
  const because = loweredBecause(finding);
  const place = file === null ? "" : ` in ${markdownCode(`${to.repositoryPath(file)}:${line ?? 1}`)}`;
  const field = path === "" ? "" : ` ${markdownCode(path)}`;
  const see = related.map((one) => markdownLine(shownObject(one))).join(", ");
  return [
    `- **${markdownLine(shownObject(object))}**${field}${place}`,
    `  ${markdownLine(message)}${because === undefined ? "" : ` _(${markdownLine(because)})_`}`,
    ...(see === "" ? [] : [`  See ${see}.`]),
    `  **Fix:** ${markdownLine(fix)} (${ruleLink(finding)})`,
    ...additionsOf(finding).map((one) => `  ${markdownLine(one)}`),
  ].join("  \n");
}

const ruleLink = ({ rule, docs }: ReportedFinding): string =>
  URL.canParse(docs) ? `[${rule}](<${docs.replaceAll(/[<>\s]/g, encodeURIComponent)}>)` : markdownCode(rule);

const errorItem = ({ file, line, message }: ReportedError, to: Destination): string =>
  `- ${file === null ? "" : `${markdownCode(`${to.repositoryPath(file)}:${line ?? 1}`)}: `}${markdownLine(message)}`;

function basisItems(report: Report): readonly string[] {
  const { basis } = report;
  const idle = Map.groupBy(basis.idle, ({ reason }) => reason);
  const lines = [
    countsOf(report),
    ...filterOf(basis),
    policiesOf(basis),
    ...[...idle].map(([reason, rules]) => `${counted(rules.length, "rule")} had nothing to check (${reason})`),
    ...skippedByReason(report).map((text) => `skipped: ${text}`),
    `Meshward ${basis.version}`,
  ];
  return lines.map((line) => `- ${markdownLine(line)}`);
}
