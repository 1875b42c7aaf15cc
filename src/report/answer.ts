import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { ExplanationLine } from "./explanation.ts";
import { type ReportedLine, reportedLine } from "./explanation.ts";
import { reportedObject } from "./reported-finding.ts";
import type { ReportedObject } from "./report.ts";

/** Whether all requests of a question are accepted, none, or some of them; or what is not known decides. */
export type Verdict = "yes" | "no" | "partly" | "undecided";

/** What becomes of one part of the requests. */
interface PartOfRequests {
  /** `accepted`, `denied` by policies, `refused` because the TLS of both sides does not fit, `nowhere` (no destination) or `undecided`. */
  readonly result: string;
  /** The requests in words; empty: all that the question is about. */
  readonly requests: readonly string[];
  /** One of the requests. */
  readonly example: string;
  /** The component that sends them. */
  readonly sender: string;
  /** The share of these requests, 0 to 1, if a route divides them by weight. */
  readonly share: number;
}

/** What becomes of one part of the requests, as an Outcome of `mesh/requests/outcome.ts` says it. */
export interface AnswerPart extends PartOfRequests {
  /** The workloads that are known to send them. */
  readonly from: readonly AnyObject[];
  /** The workloads at which this is the result. */
  readonly workloads: readonly AnyObject[];
  /** The objects that decide. */
  readonly objects: readonly AnyObject[];
  readonly line: ExplanationLine;
}

/** What becomes of one part of the requests. */
export interface ReportedPart extends PartOfRequests {
  /** The workloads that are known to send them. */
  readonly from: readonly ReportedObject[];
  /** The workloads at which this is the result. */
  readonly workloads: readonly ReportedObject[];
  /** The objects that decide. */
  readonly objects: readonly ReportedObject[];
  /** The way of the requests, from their sender. */
  readonly lines: readonly ReportedLine[];
}

/** What was asked, in words. */
export interface ReportedQuestion {
  /** Who sends the requests. */
  readonly from: string;
  /** What they are sent to. */
  readonly to: string;
  /** Its port. */
  readonly port: number;
  /** The requests; empty: all. */
  readonly requests: string;
}

/** The answer in short. */
interface AnswerInShort {
  /** Whether the requests arrive. */
  readonly verdict: Verdict;
  /** The verdict in a sentence. */
  readonly text: string;
  /** What was asked. */
  readonly question: ReportedQuestion;
  /** The answer before a change, or why there was none; null: no change was asked about. */
  readonly before: string | null;
  /** The kinds of which no object is known, so that the answer does without them. */
  readonly unknown: readonly Kind[];
}

/** The answer of `can`. */
export interface Answer extends AnswerInShort {
  readonly title: string;
  readonly parts: readonly AnswerPart[];
  /** Lines about what is not known and assumed. */
  readonly notes: readonly ExplanationLine[];
}

/** Whether requests arrive, and why. Every field is always present. */
export interface ReportedAnswer extends AnswerInShort {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Answer";
  /** The requests, divided by what becomes of them. */
  readonly parts: readonly ReportedPart[];
}

/** Formats an answer as one JSON document, indented by two spaces, with a final newline. */
export function jsonAnswer({ verdict, text, before, question, parts, unknown }: Answer): string {
  const reported: ReportedAnswer = {
    apiVersion: "meshward.io/v1alpha1",
    kind: "Answer",
    verdict,
    text,
    before,
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
