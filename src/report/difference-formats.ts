import { printableLine } from "../text/printable.ts";
import { counted } from "../text/phrases.ts";
import type { ReportDifference } from "./difference.ts";
import { type Destination, type Formats, jsonReport } from "./format.ts";
import { comment } from "./markdown-comment.ts";
import { markdownCode, markdownLine } from "./markdown-text.ts";
import { hanging } from "./page.ts";
import { shownObject } from "./phrases.ts";
import type { ReportedFinding } from "./report.ts";

/** The formats of a comparison of two reports. */
export const differenceFormats = {
  text: textDifference,
  json: jsonReport,
  markdown: markdownDifference,
} satisfies Formats<ReportDifference>;

const shown = (text: string): string => printableLine(text, 2000);

function textDifference(difference: ReportDifference, { page }: Destination): string {
  const { appeared, fixed, changed, notCompared, notes } = difference;
  const item = (sign: string, finding: ReportedFinding, mode: string) => [
    hanging(`  ${sign} `, shown(`${mode}  ${shownObject(finding.object)}: ${finding.message}`), page),
    hanging(
      "      ",
      shown([finding.path, finding.rule, ...seen(finding)].filter((part) => part !== "").join("  ")),
      page,
    ),
  ];
  const sections = [
    ["appeared", appeared.flatMap((finding) => item("+", finding, finding.mode))],
    ["fixed", fixed.flatMap((finding) => item("-", finding, finding.mode))],
    ["another mode", changed.flatMap(({ from, finding }) => item("~", finding, `${from} -> ${finding.mode}`))],
    ["not compared", notCompared.map((one) => hanging("  ? ", shown(notComparedLine(one)), page))],
    ["note", notes.map((note) => hanging("  ", shown(note), page))],
  ] as const;
  const lines = sections.flatMap(([title, items]) => (items.length === 0 ? [] : [`${title}:`, ...items, ""]));
  return [...lines, shown(summaryOf(difference)), ""].join("\n");
}

function markdownDifference(difference: ReportDifference): string {
  const { appeared, fixed, changed, notCompared, notes } = difference;
  const item = (finding: ReportedFinding, mode: string) => {
    const path = finding.path === "" ? "" : ` ${markdownCode(finding.path)}`;
    return `- ${mode}: **${markdownLine(shownObject(finding.object))}**${path}  \n  ${markdownLine(finding.message)} (${[markdownCode(finding.rule), ...seen(finding)].join(", ")})`;
  };
  const worse = appeared.filter(({ mode }) => mode === "deny").length;
  const sign = worse > 0 ? "❌" : appeared.length > 0 ? "⚠️" : "✅";
  const title = `Meshward: ${sign} ${counted(appeared.length, "finding")} appeared, ${fixed.length} fixed`;
  return comment(title, [
    { heading: "Appeared", items: appeared.map((finding) => item(finding, finding.mode)), noun: "finding" },
    { heading: "Fixed", items: fixed.map((finding) => item(finding, finding.mode)), noun: "finding", isFolded: true },
    {
      heading: "Another mode",
      items: changed.map(({ from, finding }) => item(finding, `${from} → ${finding.mode}`)),
      noun: "finding",
      isFolded: true,
    },
    {
      heading: "Not compared",
      items: notCompared.map((one) => `- ${markdownLine(notComparedLine(one))}`),
      noun: "rule",
      isFolded: true,
    },
    {
      heading: "What was compared",
      items: [summaryOf(difference), ...notes].map((line) => `- ${markdownLine(line)}`),
      noun: "line",
      isFolded: true,
    },
  ]);
}

/** Of what was fixed, it says how long it was there. */
const seen = ({ firstSeen }: ReportedFinding): readonly string[] =>
  firstSeen === undefined ? [] : [`first seen ${firstSeen}`];

const notComparedLine = ({ rule, in: which, reason }: ReportDifference["notCompared"][number]): string =>
  `${rule} (skipped in the ${which} report: ${reason})`;

function summaryOf({ old, new: now, appeared, fixed, changed, unchanged }: ReportDifference): string {
  const counts = `${counted(appeared.length, "finding")} appeared, ${fixed.length} fixed, ${changed.length} with another mode, ${unchanged} unchanged`;
  const side = ({ source, objects, deny, warn, audit }: ReportDifference["old"]) =>
    `${source} (${counted(objects, "object")}: ${deny} deny, ${warn} warn, ${audit} audit)`;
  return `${counts}; from ${side(old)} to ${side(now)}`;
}
