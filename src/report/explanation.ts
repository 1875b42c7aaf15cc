import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { ReportedObject } from "./report.ts";
import { reportedObject } from "./reported-finding.ts";

/** What a line tells, for programs: text that people read may change, this does not. */
export type ExplanationValue =
  | string
  | number
  | boolean
  | readonly string[]
  | { readonly [name: string]: readonly string[] | string };

/** One line of an explanation, and the lines that explain it. */
export interface ExplanationLine {
  /** What the line is about: `mtls`, `mtls.port`, `destinationRule.subset`. Stable. */
  readonly key: string;
  /** Which one, where several lines below the same one have one key: a port, an object, a subset. */
  readonly of?: string | undefined;
  readonly text: string;
  readonly value?: ExplanationValue | undefined;
  readonly objects?: readonly AnyObject[];
  /** False: it is there and has no effect here; the text says why. */
  readonly counts?: boolean;
  readonly lines?: readonly ExplanationLine[];
}

export interface ExplanationTarget {
  readonly kind: string;
  /** Absent for what is in no namespace. */
  readonly namespace?: string;
  readonly name: string;
  /** Of a host: the namespace of the clients. */
  readonly from?: string;
}

/** What applies to one thing in a mesh, and why. */
export interface Explanation {
  readonly target: ExplanationTarget;
  readonly title: string;
  readonly lines: readonly ExplanationLine[];
  /** Kinds of which the view shows nothing, so that they are missing here too. */
  readonly unknown: readonly Kind[];
}

/** A line about an object that stands among others of its key. */
export const objectLine = (
  key: string,
  object: AnyObject,
  text: string,
  more: Omit<ExplanationLine, "key" | "of" | "text" | "objects"> = {},
): ExplanationLine => ({ key, of: idOf(object), text, objects: [object], ...more });

/** An explanation as programs get it: every field is always there. */
export interface ReportedLine {
  readonly key: string;
  readonly of: string | null;
  readonly text: string;
  readonly value: ExplanationValue | null;
  readonly counts: boolean;
  readonly objects: readonly ReportedObject[];
  readonly lines: readonly ReportedLine[];
}

export const reportedLine = ({ key, of, text, value, counts, objects, lines }: ExplanationLine): ReportedLine => ({
  key,
  of: of ?? null,
  text,
  value: value ?? null,
  counts: counts ?? true,
  objects: (objects ?? []).map(reportedObject),
  lines: (lines ?? []).map(reportedLine),
});
