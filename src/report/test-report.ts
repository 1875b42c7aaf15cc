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

/** A case and its outcome. */
export interface TestedCase {
  /** What is tested. */
  readonly name: string;
  /** From 1; null in files that cannot be read. */
  readonly line: number | null;
  /** `error`: it could not run. */
  readonly status: "passed" | "failed" | "error";
  /** How long it took. */
  readonly seconds: number;
  /** The decision in one line: `denied by virtual-service-weights-not-100`. */
  readonly outcome: string;
  /** What differs from what is expected. */
  readonly differences: readonly Difference[];
  /** What Meshward said to the user; for a case that could not run, why. */
  readonly messages: readonly string[];
}

/** A file with tests. */
export interface TestedFile {
  /** The path of the file. */
  readonly file: string;
  /** What the file is about. */
  readonly name: string;
  /** Its cases, in order. */
  readonly cases: readonly TestedCase[];
}

/** A setting of a policy, an exception or an intent, and whether a case depended on it. */
export interface Covered {
  /** `MeshwardPolicy payments`, `MeshwardException payments/legacy`, `MeshwardIntent payments/posted-by-orders`. */
  readonly document: string;
  /** The setting: a rule, `protectedNamespaces`; empty for an exception or an intent. */
  readonly setting: string;
  /** Whether a case depended on it. */
  readonly isCovered: boolean;
}

/** How many rules found something in some case. */
export interface RuleCoverage {
  /** The number of these rules. */
  readonly found: number;
  /** The number of all rules. */
  readonly all: number;
}

/** What the cases depended on. */
export interface Coverage {
  /** The settings of the documents. */
  readonly settings: readonly Covered[];
  /** The rules. */
  readonly rules: RuleCoverage;
}

/** How many cases have each status. */
export interface TestCounts {
  /** The number of cases that passed. */
  readonly passed: number;
  /** The number of cases that failed. */
  readonly failed: number;
  /** The number of cases that could not run, and of files that could not be read. */
  readonly errors: number;
}

/** The results of tests of policies. */
export interface TestReport {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "TestReport";
  /** The version of Meshward. */
  readonly version: string;
  /** When the tests ran, in RFC 3339 and UTC. */
  readonly time: string;
  /** The files, in order. */
  readonly files: readonly TestedFile[];
  /** What the cases depended on, and what none of them did. */
  readonly coverage: Coverage;
  /** What could not be read. */
  readonly errors: readonly ReportedError[];
  /** The numbers of cases. */
  readonly summary: TestCounts;
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
