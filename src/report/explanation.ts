import { idOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { ExplanationTarget } from "./effects.ts";
import type { ReportedObject } from "./report.ts";
import { reportedObject } from "./reported-finding.ts";

/** The value of a line, for programs. It is stable; the text may change. */
export type ExplanationValue =
  | string
  | number
  | boolean
  | readonly string[]
  | { readonly [name: string]: readonly string[] | string };

/** One line of an explanation, and the lines that explain it. */
export interface ExplanationLine {
  /** The subject of the line: `mtls`, `mtls.port`, `destinationRule.subset`. Stable. */
  readonly key: string;
  /** Distinguishes several lines with the same key and parent: a port, an object, a subset. */
  readonly of?: string | undefined;
  readonly text: string;
  readonly value?: ExplanationValue | undefined;
  readonly objects?: readonly AnyObject[];
  /** False: it exists, but has no effect here; the text says why. */
  readonly counts?: boolean;
  readonly lines?: readonly ExplanationLine[];
}

/** What applies to one target in a mesh, and why. */
export interface Explanation {
  readonly target: ExplanationTarget;
  readonly title: string;
  readonly lines: readonly ExplanationLine[];
  /** The kinds of which the view contains no object, so that they are missing here too. */
  readonly unknown: readonly Kind[];
}

/** A line about one object, among others with the same key. */
export const objectLine = (
  key: string,
  object: AnyObject,
  text: string,
  more: Omit<ExplanationLine, "key" | "of" | "text" | "objects"> = {},
): ExplanationLine => ({ key, of: idOf(object), text, objects: [object], ...more });

/** A line of an explanation for programs, in which every field is always present. */
export interface ReportedLine {
  /** The subject of the line: `mtls`, `mtls.port`, `destinationRule.subset`. Stable. */
  readonly key: string;
  /** Distinguishes several lines with the same key and parent: a port, an object, a subset; null: there is one. */
  readonly of: string | null;
  /** The line for people, which may change. */
  readonly text: string;
  /** What the text says, for programs; null: the text alone says it. */
  readonly value: ExplanationValue | null;
  /** False: it exists, but has no effect here; the text says why. */
  readonly counts: boolean;
  /** The objects that the line is about. */
  readonly objects: readonly ReportedObject[];
  /** The lines that explain it. */
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
