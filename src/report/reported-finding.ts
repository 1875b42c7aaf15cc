import type { Finding } from "../engine/finding.ts";
import type { Mode } from "../engine/rule.ts";
import { formatPath } from "../kube/field-path.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Path } from "../kube/read.ts";
import type { ReportedFinding, ReportedObject } from "./report.ts";

/** Where an object stands: a file, and the line and column of a path in the object. */
export interface Place {
  readonly file: string;
  locate(path: Path): { readonly line: number; readonly column: number };
}

/** A finding as a report shows it. `place` is undefined where no file shows its subject. */
export function reportedFinding(
  finding: Finding,
  mode: Exclude<Mode, "off">,
  place: Place | undefined,
): ReportedFinding {
  const { rule, subject, at, message, introduced, related = [] } = finding;
  const position = place?.locate(at);
  return {
    rule: rule.id,
    mode,
    introduced,
    object: reportedObject(subject),
    file: place?.file ?? null,
    line: position?.line ?? null,
    column: position?.column ?? null,
    path: formatPath(at),
    message,
    fix: finding.fix ?? rule.fix,
    docs: `policies/rules/${rule.id}.md`,
    related: related.map(reportedObject),
  };
}

export function reportedObject({ apiVersion, originKind, metadata }: AnyObject): ReportedObject {
  const { namespace, name, generateName } = metadata;
  const shown = name || `${generateName ?? ""}*`;
  return { apiVersion, kind: originKind, ...(namespace === "" ? {} : { namespace }), name: shown };
}
