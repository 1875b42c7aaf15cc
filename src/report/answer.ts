import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { ExplanationLine } from "./explanation.ts";
import { type ReportedLine, reportedLine } from "./explanation.ts";
import { reportedObject } from "./reported-finding.ts";
import type { ReportedObject } from "./report.ts";

/** Whether all requests of a question are accepted, none, or some of them; or what is not known decides. */
export type Verdict = "yes" | "no" | "partly" | "undecided";

/** What becomes of one part of the requests, as Outcome of `mesh/requests/outcome.ts`. */
export interface AnswerPart {
  readonly result: string;
  /** The requests in words; empty: all that the question is about. */
  readonly requests: readonly string[];
  readonly example: string;
  /** Who sends them: the component, and the workloads that are known. */
  readonly sender: string;
  readonly from: readonly AnyObject[];
  /** The share of these requests, 0 to 1, if a route divides them by weight. */
  readonly share: number;
  /** The workloads at which this is the result. */
  readonly workloads: readonly AnyObject[];
  /** The objects that decide. */
  readonly objects: readonly AnyObject[];
  readonly line: ExplanationLine;
}

/** The answer of `can`. */
export interface Answer {
  readonly title: string;
  readonly verdict: Verdict;
  /** The verdict in a sentence. */
  readonly text: string;
  readonly question: { readonly from: string; readonly to: string; readonly port: number; readonly requests: string };
  readonly parts: readonly AnswerPart[];
  /** Lines about what is not known and assumed. */
  readonly notes: readonly ExplanationLine[];
  readonly unknown: readonly Kind[];
}

/** The output of `can --format json`, in which every field is always present. */
export interface ReportedAnswer extends Pick<Answer, "verdict" | "text" | "question" | "unknown"> {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Answer";
  readonly parts: readonly (Omit<AnswerPart, "from" | "workloads" | "objects" | "line"> & {
    readonly from: readonly ReportedObject[];
    readonly workloads: readonly ReportedObject[];
    readonly objects: readonly ReportedObject[];
    readonly lines: readonly ReportedLine[];
  })[];
}

/** Formats an answer as one JSON document, indented by two spaces, with a final newline. */
export function jsonAnswer({ verdict, text, question, parts, unknown }: Answer): string {
  const reported: ReportedAnswer = {
    apiVersion: "meshward.io/v1alpha1",
    kind: "Answer",
    verdict,
    text,
    question,
    parts: parts.map(({ line, from, workloads, objects, ...part }) => ({
      ...part,
      from: from.map(reportedObject),
      workloads: workloads.map(reportedObject),
      objects: objects.map(reportedObject),
      lines: (line.lines ?? []).map(reportedLine),
    })),
    unknown,
  };
  return `${JSON.stringify(reported, null, 2)}\n`;
}
