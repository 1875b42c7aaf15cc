import type { Mode } from "../engine/rule.ts";
import type { ConnectionChanges } from "./connections.ts";
import type { Effects } from "./effects.ts";

/** The reference to an object in a report. */
export interface ReportedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

/** A related object, and where it is; null if it is not in a file. */
export interface RelatedObject extends ReportedObject {
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
  /** As of a finding. */
  readonly renderedFrom?: string;
}

/** A rule that found something, with its texts. */
export interface ReportedRule {
  readonly id: string;
  readonly summary: string;
  readonly why: string;
  readonly fix: string;
  /** The URL of the rule's page. */
  readonly docs: string;
  readonly tags: readonly string[];
}

/** One finding with everything that is needed to act on it. */
export interface ReportedFinding {
  readonly rule: string;
  /**
   * Identifies the problem: 32 hexadecimal digits of a hash of the rule, the object and the engine's key. It stays the same
   * if lines move, fields of the object that do not matter change, or the file is renamed. Two files that define the same
   * object have findings of the same fingerprint.
   */
  readonly fingerprint: string;
  /**
   * When a background audit first saw it, in RFC 3339 and UTC. Absent if nobody knows: of files and captures, and without
   * reports in the cluster.
   */
  readonly firstSeen?: string;
  readonly mode: Exclude<Mode, "off">;
  /** Each step that lowered the mode, in order, with its reason. */
  readonly lowered: readonly {
    readonly step: string;
    readonly from: Mode;
    readonly to: Mode;
    readonly reason: string;
  }[];
  /** False: the problem existed before the change. */
  readonly introduced: boolean;
  /** Whether the baseline knows it; absent without a baseline. */
  readonly baselineState?: "new" | "unchanged";
  readonly object: ReportedObject;
  /** The place of the path in the object, or of an object that causes the problem; null if neither is in a file. */
  readonly file: string | null;
  /** From 1. */
  readonly line: number | null;
  readonly column: number | null;
  /** The kustomization whose output was checked; absent: `file` was. */
  readonly renderedFrom?: string;
  /** The path of the field: `spec.http[0].route`; empty for the object as a whole. */
  readonly path: string;
  readonly message: string;
  readonly fix: string;
  /** The URL of the rule's page. */
  readonly docs: string;
  /** The source of the mode before the steps: `MeshwardPolicy payments`, `profile baseline`, `the rule's default`. */
  readonly policy: string;
  /** What that policy adds for the reader, and a page of its own; absent if it names none. */
  readonly note?: string;
  readonly runbook?: string;
  readonly related: readonly RelatedObject[];
}

/** A finding that a MeshwardException accepts. Its mode is the one that it would have without the exception. */
export interface AcceptedFinding extends ReportedFinding {
  readonly exception: {
    readonly namespace: string;
    readonly name: string;
    readonly reason: string;
    readonly owner: string;
    /** Absent if the document names none. */
    readonly ticket?: string;
    /** As written in the document. */
    readonly expiresAt: string;
  };
}

/** An entry of a baseline: a finding that was there when the baseline was written. */
export interface KnownFinding {
  readonly fingerprint: string;
  readonly rule: string;
  /** `VirtualService payments/api`. */
  readonly object: string;
  readonly message: string;
  readonly file: string | null;
}

/** A file that could not be read, or a rule that failed. */
export interface ReportedError {
  readonly file: string | null;
  readonly line: number | null;
  readonly message: string;
}

/** The reason of rules that had nothing to check because there is no object of their kind. */
export const withoutObjects = "no object of its kind";

/** What was checked, and with which policies: without it, "no findings" says little. */
export interface Basis {
  /** The version of Meshward. */
  readonly version: string;
  /** When the report was made, in RFC 3339 and UTC. Exceptions that had expired by then do not count. */
  readonly time: string;
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
  readonly idle: readonly { readonly rule: string; readonly reason: string }[];
  /** What the report is limited to; absent: it has all findings. */
  readonly filter?: ReportFilter;
}

/** Limits what a report shows. Everything was checked all the same, because findings depend on each other. */
export interface ReportFilter {
  /** Of the objects; `*` stands for any characters. A Namespace belongs to itself. Empty: all, as for the next two. */
  readonly namespaces: readonly string[];
  readonly rules: readonly string[];
  readonly tags: readonly string[];
  readonly minMode: "deny" | "warn" | "audit";
  /** The number of findings that the report does not have. */
  readonly hidden: number;
}

export interface Report {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Report";
  readonly basis: Basis;
  /** Sorted by file, line, column, rule. */
  readonly findings: readonly ReportedFinding[];
  /** Findings without effect, because an exception accepts them. In the same order. */
  readonly accepted: readonly AcceptedFinding[];
  /** The rules of the findings, with accepted ones, by id. */
  readonly rules: readonly ReportedRule[];
  /** Rules that could not run. */
  readonly skipped: readonly { readonly rule: string; readonly reason: string }[];
  readonly errors: readonly ReportedError[];
  /** The baseline that findings were compared with: how many of them it lists, and what it lists and no longer exists. */
  readonly baseline?: { readonly file: string; readonly known: number; readonly stale: readonly KnownFinding[] };
  /** What the change does to the mesh; absent without a mesh before the change. */
  readonly changes?: Effects;
  /** What the change does to who can reach what; absent if that was not asked for. */
  readonly connections?: ConnectionChanges;
  readonly summary: { readonly objects: number; readonly deny: number; readonly warn: number; readonly audit: number };
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
