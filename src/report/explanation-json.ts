import type { Kind } from "../kube/kinds.ts";
import type { ExplanationTarget } from "./effects.ts";
import { type Explanation, type ReportedLine, reportedLine } from "./explanation.ts";
import type { DifferingLine } from "./explanation-difference.ts";

/** The output of `explain --format json`. */
export interface ReportedExplanation {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Explanation";
  readonly target: ExplanationTarget;
  readonly lines: readonly ReportedLine[];
  readonly unknown: readonly Kind[];
}

/** The output of `explain --change --format json`: both sides, and the lines that differ with the keys of their parents. */
export interface ReportedDifference extends Omit<ReportedExplanation, "kind" | "lines"> {
  readonly kind: "ExplanationDifference";
  readonly before: readonly ReportedLine[];
  readonly after: readonly ReportedLine[];
  readonly differences: readonly {
    readonly mark: "-" | "+";
    /** The keys of the parent lines, from the top. */
    readonly under: readonly string[];
    readonly line: ReportedLine;
  }[];
}

/** Formats an explanation as one JSON document, indented by two spaces, with a final newline. */
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

/** The same for both sides of a change. */
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

/** A line that is added or removed with all its children is one difference. */
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
