import { pageOf } from "../config/rule-page.ts";
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

/** The report's entry for a finding; none if its mode is off. `place` is undefined if its subject is not in a file. */
export function reportedFinding(
  { finding, mode, lowered }: Ruling,
  place: Place | undefined,
  docsUrl: string,
): readonly ReportedFinding[] {
  if (mode === "off") return [];
  const { rule, subject, at, message, introduced, related = [] } = finding;
  const { line = null, column = null } = place?.locate(at) ?? {};
  const reported: ReportedFinding = {
    rule: rule.id,
    mode,
    lowered: lowered.map(({ step, from, to, reason }) => ({ step, from, to, reason })),
    introduced,
    object: reportedObject(subject),
    file: place?.file ?? null,
    line,
    column,
    path: formatPath(at),
    message,
    fix: finding.fix ?? rule.fix,
    docs: pageOf(rule.id, docsUrl),
    related: related.map(reportedObject),
  };
  return [reported];
}

export function reportedObject({ apiVersion, originKind, metadata }: AnyObject): ReportedObject {
  const { namespace, name, generateName } = metadata;
  const shown = name || `${generateName ?? ""}*`;
  return { apiVersion, kind: originKind, ...(namespace === "" ? {} : { namespace }), name: shown };
}
