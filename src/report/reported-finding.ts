import { pageOf } from "../config/rule-page.ts";
import type { Finding } from "../engine/finding.ts";
import type { Ruling } from "../engine/ruling.ts";
import { formatPath } from "../kube/field-path.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";
import type { ReportedFinding, ReportedObject } from "./report.ts";

/** The place of an object: its file, and the line and column of a path in it. */
export interface Place {
  readonly file: string;
  locate(path: Path): { readonly line: number; readonly column: number };
}

/** Finds the place of an object. */
export interface Places {
  /** Undefined if the object is not in a file. */
  of(object: AnyObject): Place | undefined;
  /** Whether the user can change the object: it is in one of the checked files, or is deleted by the change. */
  isChangeable(object: AnyObject): boolean;
}

/** The report's entry for a finding; none if its mode is off. */
export function reportedFinding(
  { finding, mode, lowered }: Ruling,
  places: Places,
  docsUrl: string,
): readonly ReportedFinding[] {
  if (mode === "off") return [];
  const { rule, subject, at, message, introduced, related = [] } = finding;
  const { file, line, column } = placeOf(finding, places);
  const reported: ReportedFinding = {
    rule: rule.id,
    mode,
    lowered: lowered.map(({ step, from, to, reason }) => ({ step, from, to, reason })),
    introduced,
    object: reportedObject(subject),
    file,
    line,
    column,
    path: formatPath(at),
    message,
    fix: finding.fix ?? rule.fix,
    docs: pageOf(rule.id, docsUrl),
    related: related.map((object) => ({ ...reportedObject(object), ...spotOf(object, [], places) })),
  };
  return [reported];
}

/**
 * Where a reader can do something about a finding. A finding about a namespace as a whole, and one about an object that the
 * reader does not change, is at the first object that causes it and that the reader can change.
 */
function placeOf({ subject, at, related = [], evidence = [] }: Finding, places: Places): Spot {
  const isElsewhere = !places.isChangeable(subject) || (at.length === 0 && subject.kind === "Namespace");
  const causes = isElsewhere ? [...related, ...evidence.flatMap((one) => ("absent" in one ? [] : one))] : [];
  const cause = causes.find((object) => places.isChangeable(object));
  return cause === undefined ? spotOf(subject, at, places) : spotOf(cause, [], places);
}

interface Spot {
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
}
function spotOf(object: AnyObject, at: Path, places: Places): Spot {
  const place = places.of(object);
  if (place === undefined) return { file: null, line: null, column: null };
  return { file: place.file, ...place.locate(at) };
}

export function reportedObject({ apiVersion, originKind, metadata }: AnyObject): ReportedObject {
  const { namespace, name, generateName } = metadata;
  const shown = name || `${generateName ?? ""}*`;
  return { apiVersion, kind: originKind, ...(namespace === "" ? {} : { namespace }), name: shown };
}
