import type { Kind } from "../kube/kinds.ts";
import type { ExplanationTarget } from "./effects.ts";
import { type Explanation, type ReportedLine, reportedLine } from "./explanation.ts";
import type { DifferingLine } from "./explanation-difference.ts";

/** What explanations have in common. */
export interface Explained {
  readonly apiVersion: "meshward.io/v1alpha1";
  /** What is explained. */
  readonly target: ExplanationTarget;
  /** The kinds of which no object is known, so that they are missing in the explanation. */
  readonly unknown: readonly Kind[];
}

/** What applies to one target, and why. */
export interface ReportedExplanation extends Explained {
  readonly kind: "Explanation";
  /** The explanation, from the top. */
  readonly lines: readonly ReportedLine[];
}

/** A line that a change removes or adds. */
export interface ReportedLineDifference {
  /** Whether the change removes or adds the line. */
  readonly mark: "-" | "+";
  /** The keys of the parent lines, from the top. */
  readonly under: readonly string[];
  /** The line; with the lines below it, if they are removed or added too. */
  readonly line: ReportedLine;
}

/** The explanations before and after a change, and the lines that differ. */
export interface ReportedDifference extends Explained {
  readonly kind: "ExplanationDifference";
  /** The explanation before the change. */
  readonly before: readonly ReportedLine[];
  /** The explanation after it. */
  readonly after: readonly ReportedLine[];
  /** The lines that differ. */
  readonly differences: readonly ReportedLineDifference[];
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
function* flat(differing: readonly DifferingLine[], under: readonly string[]): Iterable<ReportedLineDifference> {
  for (const { mark, line, lines } of differing) {
    const isWhole = mark !== " " && lines.every((child) => child.mark === mark);
    if (mark !== " ") yield { mark, under, line: reportedLine(isWhole ? line : { ...line, lines: [] }) };
    if (!isWhole) yield* flat(lines, [...under, line.of === undefined ? line.key : `${line.key} ${line.of}`]);
  }
}
