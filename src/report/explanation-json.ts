import type { Kind } from "../kube/kinds.ts";
import { type Explanation, type ExplanationTarget, type ReportedLine, reportedLine } from "./explanation.ts";
import type { DifferingLine } from "./explanation-difference.ts";

/** What `explain --format json` prints. */
export interface ReportedExplanation {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Explanation";
  readonly target: ExplanationTarget;
  readonly lines: readonly ReportedLine[];
  readonly unknown: readonly Kind[];
}

/** What `explain --change --format json` prints: both sides, and the lines that differ with the keys above them. */
export interface ReportedDifference extends Omit<ReportedExplanation, "kind" | "lines"> {
  readonly kind: "ExplanationDifference";
  readonly before: readonly ReportedLine[];
  readonly after: readonly ReportedLine[];
  readonly differences: readonly {
    readonly mark: "-" | "+";
    /** Of the lines above it, from the top. */
    readonly under: readonly string[];
    readonly line: ReportedLine;
  }[];
}

/** One JSON document, two spaces deep, with a newline at its end. */
export function jsonExplanation({ target, lines, unknown }: Explanation): string {
  const reported: ReportedExplanation = {
    apiVersion: "meshward.io/v1alpha1",
    kind: "Explanation",
    target,
    lines: lines.map(reportedLine),
    unknown,
  };
  return `${JSON.stringify(reported, null, 2)}\n`;
}

/** The same for two sides of a change. */
export function jsonDifference(before: Explanation, after: Explanation, differing: readonly DifferingLine[]): string {
  const reported: ReportedDifference = {
    apiVersion: "meshward.io/v1alpha1",
    kind: "ExplanationDifference",
    target: after.target,
    before: before.lines.map(reportedLine),
    after: after.lines.map(reportedLine),
    differences: [...flat(differing, [])],
    unknown: after.unknown,
  };
  return `${JSON.stringify(reported, null, 2)}\n`;
}

/** A line that comes or goes whole is one difference; what lies below it comes and goes with it. */
function* flat(
  differing: readonly DifferingLine[],
  under: readonly string[],
): Iterable<ReportedDifference["differences"][number]> {
  for (const { mark, line, lines } of differing) {
    const isWhole = mark !== " " && lines.every((child) => child.mark === mark);
    if (mark !== " ") yield { mark, under, line: reportedLine(isWhole ? line : { ...line, lines: [] }) };
    if (!isWhole) yield* flat(lines, [...under, line.of === undefined ? line.key : `${line.key} ${line.of}`]);
  }
}
