import type { ReportedError } from "./report.ts";

/** One difference between what a case expects and what was found. */
export interface Difference {
  /** The field of `expect`. */
  readonly what: string;
  /** What is expected and was not found. */
  readonly expected: readonly string[];
  /** What was found and is not expected. */
  readonly found: readonly string[];
}

export interface TestedCase {
  readonly name: string;
  /** From 1; null in files that cannot be read. */
  readonly line: number | null;
  /** `error`: it could not run. */
  readonly status: "passed" | "failed" | "error";
  readonly seconds: number;
  /** The decision in one line: `denied by virtual-service-weights-not-100`. */
  readonly outcome: string;
  readonly differences: readonly Difference[];
  /** What Meshward said to the user; for a case that could not run, why. */
  readonly messages: readonly string[];
}

export interface TestedFile {
  readonly file: string;
  readonly name: string;
  readonly cases: readonly TestedCase[];
}

/** A setting of a policy, an exception or an intent, and whether a case depended on it. */
export interface Covered {
  /** `MeshwardPolicy payments`, `MeshwardException payments/legacy`, `MeshwardIntent payments/posted-by-orders`. */
  readonly document: string;
  /** The setting: a rule, `protectedNamespaces`; empty for an exception or an intent. */
  readonly setting: string;
  readonly isCovered: boolean;
}

/** The output of `meshward test --format json`. */
export interface TestReport {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "TestReport";
  readonly version: string;
  /** RFC 3339, in UTC. */
  readonly time: string;
  readonly files: readonly TestedFile[];
  readonly coverage: {
    readonly settings: readonly Covered[];
    /** The number of rules that found something in some case, and of all rules. */
    readonly rules: { readonly found: number; readonly all: number };
  };
  readonly errors: readonly ReportedError[];
  readonly summary: { readonly passed: number; readonly failed: number; readonly errors: number };
}

export function testReportOf(
  parts: Pick<TestReport, "version" | "time" | "files" | "coverage" | "errors">,
): TestReport {
  const count = (status: TestedCase["status"]) =>
    parts.files.reduce((sum, { cases }) => sum + cases.filter((one) => one.status === status).length, 0);
  return {
    ...{ apiVersion: "meshward.io/v1alpha1", kind: "TestReport", ...parts },
    summary: { passed: count("passed"), failed: count("failed"), errors: count("error") + parts.errors.length },
  };
}

/** The documents of which some setting is not covered, with these settings; a document without any is named alone. */
export function uncovered({ coverage: { settings } }: TestReport): readonly string[] {
  const byDocument = Map.groupBy(settings, ({ document }) => document);
  return [...byDocument].flatMap(([document, members]) => {
    const missing = members.filter(({ isCovered }) => !isCovered);
    if (missing.length === 0) return [];
    if (missing.length === members.length) return [document];
    return [`${document} (${missing.map(({ setting }) => setting).join(", ")})`];
  });
}
