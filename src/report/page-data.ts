import type { MeshPicture } from "./mesh-picture.ts";
import type { AcceptedFinding, Basis, Report, ReportedFinding, ReportedRule } from "./report.ts";

/** What the page contains, as JSON. */
export interface PageData {
  readonly basis: Basis;
  readonly summary: Report["summary"];
  readonly rules: readonly ReportedRule[];
  readonly findings: readonly PageFinding[];
  readonly skipped: Report["skipped"];
  readonly errors: Report["errors"];
  /** Null: the page was made without a mesh. */
  readonly mesh: MeshPicture | null;
}

/** A finding without what the page has in its rule. */
export interface PageFinding {
  readonly rule: string;
  readonly id: string;
  readonly mode: ReportedFinding["mode"];
  readonly kind: string;
  /** Empty for cluster-scoped objects. A Namespace belongs to itself. */
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
  readonly message: string;
  /** Absent: the fix of the rule. */
  readonly fix?: string;
  readonly lowered?: string;
  readonly related?: readonly string[];
  /** `file:line` */
  readonly place?: string;
  readonly lines?: readonly ManifestLine[];
  readonly exception?: AcceptedFinding["exception"];
  /** In RFC 3339 and UTC; absent: not known. */
  readonly firstSeen?: string;
}

/** A line of the manifest. */
export interface ManifestLine {
  readonly number: number;
  readonly text: string;
  /** The finding is on this line. */
  readonly isMarked?: true;
}
