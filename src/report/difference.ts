import type { Report, ReportCounts, ReportedFinding, ReportedMode, RuleWithoutResult } from "./report.ts";

/** A finding of both reports, with another mode. */
export interface ChangedFinding {
  /** The mode in the old report. */
  readonly from: ReportedMode;
  /** The finding of the new report. */
  readonly finding: ReportedFinding;
}

/** A rule that could run for one of the reports only. */
export interface NotCompared extends RuleWithoutResult {
  /** The report for which it could not run. */
  readonly in: "old" | "new";
}

/** What is different between the findings of two reports. */
export interface ReportDifference {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "ReportDifference";
  /** The old report. */
  readonly old: Compared;
  /** The new report. */
  readonly new: Compared;
  /** Findings that only the new report has. */
  readonly appeared: readonly ReportedFinding[];
  /** Findings that only the old report has. */
  readonly fixed: readonly ReportedFinding[];
  /** Findings of both, with another mode. */
  readonly changed: readonly ChangedFinding[];
  /** The number of findings that are the same in both. */
  readonly unchanged: number;
  /** Rules with findings that could run for one of the reports only, so that nothing is known about them in the other. */
  readonly notCompared: readonly NotCompared[];
  /** Why the reports are about more than the mesh: other policies, another version of Meshward, errors. */
  readonly notes: readonly string[];
}

/** One of the reports. */
interface Compared extends ReportCounts {
  /** As given on the command line. */
  readonly source: string;
}

export interface ReportSource {
  readonly source: string;
  readonly report: Report;
}

/** Compares the findings of two reports, each as often as it occurs. */
export function reportDifference(old: ReportSource, now: ReportSource): ReportDifference {
  const notCompared = [...onlySkippedIn("new", old, now), ...onlySkippedIn("old", now, old)];
  const unknown = new Set(notCompared.map(({ rule }) => rule));
  const known = ({ rule }: ReportedFinding) => !unknown.has(rule);
  const left = Map.groupBy(old.report.findings.filter(known), identityOf);
  const appeared: ReportedFinding[] = [];
  const changed: ChangedFinding[] = [];
  let unchanged = 0;
  for (const finding of now.report.findings.filter(known)) {
    const before = left.get(identityOf(finding))?.shift();
    if (before === undefined) appeared.push(finding);
    else if (before.mode === finding.mode) unchanged++;
    else changed.push({ from: before.mode, finding });
  }
  return {
    apiVersion: "meshward.io/v1alpha1",
    kind: "ReportDifference",
    old: comparedOf(old),
    new: comparedOf(now),
    appeared,
    fixed: [...left.values()].flat(),
    changed,
    unchanged,
    notCompared,
    notes: notesOf(old.report, now.report),
  };
}

/** Files of a repository may define an object twice, and a fingerprint does not tell them apart; most reports are of meshes. */
const identityOf = ({ fingerprint }: ReportedFinding): string => fingerprint;

const comparedOf = ({ source, report: { summary } }: ReportSource): Compared => ({ source, ...summary });

/** Rules that are skipped in one report, and found something in the other. */
function onlySkippedIn(which: "old" | "new", other: ReportSource, one: ReportSource): ReportDifference["notCompared"] {
  const found = new Set(other.report.findings.map(({ rule }) => rule));
  const skipped = new Map(one.report.skipped.map(({ rule, reason }) => [rule, reason]));
  return [...skipped].filter(([rule]) => found.has(rule)).map(([rule, reason]) => ({ rule, in: which, reason }));
}

function notesOf(
  { basis: old, errors: oldErrors }: Report,
  { basis: now, errors: newErrors }: Report,
): readonly string[] {
  const differing = (what: string, a: string, b: string) =>
    a === b ? [] : [`${what}: ${a || "none"}, then ${b || "none"}`];
  return [
    ...differing("different versions of Meshward", old.version, now.version),
    ...differing("different profiles", old.profile, now.profile),
    ...differing("different policies", old.policies.join(", "), now.policies.join(", ")),
    ...differing("different numbers of exceptions", String(old.exceptions), String(now.exceptions)),
    ...differing(
      "different protected namespaces",
      old.protectedNamespaces.join(", "),
      now.protectedNamespaces.join(", "),
    ),
    ...differing("different filters", JSON.stringify(withoutCount(old)), JSON.stringify(withoutCount(now))),
    ...(oldErrors.length > 0 ? [`the old report has errors, so it may lack findings`] : []),
    ...(newErrors.length > 0 ? [`the new report has errors, so it may lack findings`] : []),
  ];
}

const withoutCount = ({ filter }: Report["basis"]) => filter && { ...filter, hidden: 0 };
