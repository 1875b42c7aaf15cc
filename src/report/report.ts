import type { Mode } from "../engine/rule.ts";
import type { ConnectionChanges } from "./connections.ts";
import type { Effects } from "./effects.ts";

/** The reference to an object in a report. */
export interface ReportedObject {
  /** As in manifests: `networking.istio.io/v1`. */
  readonly apiVersion: string;
  /** As in manifests. */
  readonly kind: string;
  /** Absent for a cluster-scoped object. */
  readonly namespace?: string;
  /** Its name; one that the API server has yet to generate ends with `*`. */
  readonly name: string;
}

/** A place in a file. */
export interface ReportedPlace {
  /** The path of the file; null if the object is not in a file. */
  readonly file: string | null;
  /** From 1. */
  readonly line: number | null;
  /** From 1. */
  readonly column: number | null;
  /** The kustomization or chart whose output was checked; absent: `file` was. */
  readonly renderedFrom?: string;
}

/** An object that a finding depends on, and where it is. */
export interface RelatedObject extends ReportedObject, ReportedPlace {}

/** A rule that found something, with its texts. */
export interface ReportedRule {
  /** The id of the rule. */
  readonly id: string;
  /** What the rule reports, in one sentence. */
  readonly summary: string;
  /** What happens if nothing is done. */
  readonly why: string;
  /** What to do about a finding; one finding may have a fix of its own. */
  readonly fix: string;
  /** The URL of the rule's page. */
  readonly docs: string;
  /** What the rule is about: `mtls`, `canary`. */
  readonly tags: readonly string[];
}

/** The mode of a finding that is reported. */
export type ReportedMode = Exclude<Mode, "off">;

/** A step that lowered the mode of a finding. [All steps](ladder.md) are on a page of their own. */
export interface LoweringStep {
  /** The name of the step. */
  readonly step: string;
  /** The mode before the step. */
  readonly from: Mode;
  /** The mode after it. */
  readonly to: Mode;
  /** Why, in a sentence. */
  readonly reason: string;
}

/**
 * One finding with everything that is needed to act on it. Its place is that of the field in the object, or of an object that
 * causes the problem.
 */
export interface ReportedFinding extends ReportedPlace {
  /** The id of the rule. */
  readonly rule: string;
  /**
   * Identifies the problem: 32 hexadecimal digits. It stays the same if lines move, fields of the object that do not matter
   * change, or the file is renamed. Two files that define the same object have findings of the same fingerprint.
   */
  readonly fingerprint: string;
  /**
   * When a background audit first saw it, in RFC 3339 and UTC. Absent if nobody knows: of files and captures, and without
   * reports in the cluster.
   */
  readonly firstSeen?: string;
  /** What the finding does: the change is denied, its author is warned, or it is only recorded. */
  readonly mode: ReportedMode;
  /** Each step that lowered the mode, in order, with its reason. */
  readonly lowered: readonly LoweringStep[];
  /** False: the problem existed before the change. */
  readonly introduced: boolean;
  /** Whether the baseline knows it; absent without a baseline. */
  readonly baselineState?: "new" | "unchanged";
  /** What the finding is about. */
  readonly object: ReportedObject;
  /** The path of the field: `spec.http[0].route`; empty for the object as a whole. */
  readonly path: string;
  /** What is wrong, in a sentence. */
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
  /** The URL of the rule's page. */
  readonly docs: string;
  /** The source of the mode before the steps: `MeshwardPolicy payments`, `profile baseline`, `the rule's default`. */
  readonly policy: string;
  /** What that policy adds for the reader; absent if it adds nothing. */
  readonly note?: string;
  /** The URL of a page that the policy names; absent if it names none. */
  readonly runbook?: string;
  /** The objects that the finding depends on. */
  readonly related: readonly RelatedObject[];
}

/** What a MeshwardException says of itself. */
export interface ReportedException {
  /** The namespace of the exception. */
  readonly namespace: string;
  /** The name of the exception. */
  readonly name: string;
  /** Why it accepts the finding. */
  readonly reason: string;
  /** Who is responsible for it. */
  readonly owner: string;
  /** Absent if the document names none. */
  readonly ticket?: string;
  /** As written in the document. */
  readonly expiresAt: string;
}

/** A finding that a MeshwardException accepts. Its mode is the one that it would have without the exception. */
export interface AcceptedFinding extends ReportedFinding {
  /** The exception that accepts it. */
  readonly exception: ReportedException;
}

/** An entry of a baseline: a finding that was there when the baseline was written. */
export interface KnownFinding {
  /** The fingerprint of the finding. */
  readonly fingerprint: string;
  /** The id of the rule. */
  readonly rule: string;
  /** `VirtualService payments/api`. */
  readonly object: string;
  /** The message of the finding. */
  readonly message: string;
  /** The path of the file; null if the object was in none. */
  readonly file: string | null;
}

/** A file that could not be read, or a rule that failed. */
export interface ReportedError {
  /** The path of the file; null: it is about no file. */
  readonly file: string | null;
  /** From 1; null: it is about the file as a whole. */
  readonly line: number | null;
  /** What went wrong, and what to do. */
  readonly message: string;
}

/** A rule without a result, and why. */
export interface RuleWithoutResult {
  /** The id of the rule. */
  readonly rule: string;
  /** Why, in a few words. */
  readonly reason: string;
}

/** The reason of rules that had nothing to check because there is no object of their kind. */
export const withoutObjects = "no object of its kind";

/** What was checked, and with which policies: without it, "no findings" says little. */
export interface Basis {
  /** The version of Meshward. */
  readonly version: string;
  /** When the report was made, in RFC 3339 and UTC. Exceptions that had expired by then do not count. */
  readonly time: string;
  /** The built-in policies: `baseline`. */
  readonly profile: string;
  /** The project file from which settings were taken; absent without one. */
  readonly settingsFile?: string;
  /** The titles of the MeshwardPolicy documents in force, without those of the profile. */
  readonly policies: readonly string[];
  /** The number of MeshwardException documents in force. */
  readonly exceptions: number;
  /** The names of the protected namespaces of the mesh, sorted. */
  readonly protectedNamespaces: readonly string[];
  /** The number of checked objects of each kind. */
  readonly objects: Readonly<Record<string, number>>;
  /** Rules that had no object to check, and why. */
  readonly idle: readonly RuleWithoutResult[];
  /** What the report is limited to; absent: it has all findings. */
  readonly filter?: ReportFilter;
}

/** Limits what a report shows. Everything was checked all the same, because findings depend on each other. */
export interface ReportFilter {
  /** Of the objects; `*` stands for any characters. A Namespace belongs to itself. Empty: all. */
  readonly namespaces: readonly string[];
  /** Ids of rules, in which `*` stands for any characters. Empty: all. */
  readonly rules: readonly string[];
  /** Tags of rules. Empty: all. */
  readonly tags: readonly string[];
  /** The lowest mode that is shown. */
  readonly minMode: ReportedMode;
  /** The number of findings that the report does not have. */
  readonly hidden: number;
}

/** How many objects were checked, and how many findings have each mode. */
export interface ReportCounts {
  /** The number of checked objects. */
  readonly objects: number;
  /** The number of denials. */
  readonly deny: number;
  /** The number of warnings. */
  readonly warn: number;
  /** The number of findings that are only recorded. */
  readonly audit: number;
}

/** The baseline that findings were compared with. */
export interface BaselineComparison {
  /** The path of the baseline. */
  readonly file: string;
  /** The number of findings that it lists. */
  readonly known: number;
  /** What it lists and no longer exists. */
  readonly stale: readonly KnownFinding[];
}

/** Findings, and what they are based on. */
export interface Report {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Report";
  /** What was checked, and with which policies. */
  readonly basis: Basis;
  /** Sorted by file, line, column, rule. */
  readonly findings: readonly ReportedFinding[];
  /** Findings without effect, because an exception accepts them. In the same order. */
  readonly accepted: readonly AcceptedFinding[];
  /** The rules of the findings, with accepted ones, by id. */
  readonly rules: readonly ReportedRule[];
  /** Rules that could not run: all of them, where a text for people names the first ones. */
  readonly skipped: readonly RuleWithoutResult[];
  /** What could not be read or checked. With an error, the exit code is 2. */
  readonly errors: readonly ReportedError[];
  /** The baseline that findings were compared with; absent without one. */
  readonly baseline?: BaselineComparison;
  /** What the change does to the mesh; absent without a mesh before the change. */
  readonly changes?: Effects;
  /** What the change does to who can reach what; absent if that was not asked for. */
  readonly connections?: ConnectionChanges;
  /** The numbers of objects and findings. */
  readonly summary: ReportCounts;
}

export function reportOf(parts: {
  readonly basis: Basis;
  readonly findings: readonly ReportedFinding[];
  readonly accepted: readonly AcceptedFinding[];
  readonly rules: readonly ReportedRule[];
  readonly skipped: Report["skipped"];
  readonly errors: readonly ReportedError[];
  readonly objects: number;
  readonly changes?: Effects | undefined;
  readonly connections?: ConnectionChanges | undefined;
}): Report {
  const count = (mode: Mode) => parts.findings.filter((finding) => finding.mode === mode).length;
  return {
    apiVersion: "meshward.io/v1alpha1",
    kind: "Report",
    basis: parts.basis,
    findings: parts.findings.toSorted(inReadingOrder),
    accepted: parts.accepted.toSorted(inReadingOrder),
    rules: parts.rules,
    skipped: parts.skipped.toSorted((a, b) => compare(a.rule, b.rule) || compare(a.reason, b.reason)),
    errors: parts.errors,
    ...(parts.changes === undefined ? {} : { changes: parts.changes }),
    ...(parts.connections === undefined ? {} : { connections: parts.connections }),
    summary: { objects: parts.objects, deny: count("deny"), warn: count("warn"), audit: count("audit") },
  };
}

/** Findings without a file come last. */
const last = { file: "\uffff", line: 0, column: 0 };

function inReadingOrder(a: ReportedFinding, b: ReportedFinding): number {
  return (
    comparePlace(a, b) ||
    compare(a.rule, b.rule) ||
    compare(a.object.name, b.object.name) ||
    compare(a.message, b.message)
  );
}

function comparePlace(a: ReportedFinding, b: ReportedFinding): number {
  const [one, other] = [a, b].map(({ file, line, column }) => (file === null ? last : { file, line, column })) as [
    Place,
    Place,
  ];
  return (
    compare(one.file, other.file) || (one.line ?? 0) - (other.line ?? 0) || (one.column ?? 0) - (other.column ?? 0)
  );
}
interface Place {
  readonly file: string;
  readonly line: number | null;
  readonly column: number | null;
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
