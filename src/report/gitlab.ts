import { createHash } from "node:crypto";
import { printableLine } from "../text/printable.ts";
import type { Destination } from "./format.ts";
import { loweredBecause, shownObject } from "./phrases.ts";
import type { Report, ReportedError, ReportedFinding } from "./report.ts";

/** One entry of a code quality report: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format. */
interface Issue {
  readonly description: string;
  readonly check_name: string;
  readonly fingerprint: string;
  readonly severity: "info" | "minor" | "major" | "critical" | "blocker";
  readonly location: { readonly path: string; readonly lines: { readonly begin: number } };
}

export const gitlabSeverities = { deny: "critical", warn: "minor", audit: "info" } as const;

/** A code quality report of GitLab. A finding that is in no file has the name of its object as path. */
export function gitlabReport(report: Report, to: Destination): string {
  const issues = [
    ...report.errors.map((error) => ofError(error, to)),
    ...report.findings.map((finding) => ofFinding(finding, to)),
  ];
  return `${JSON.stringify(distinct(issues), null, 2)}\n`;
}

function ofFinding(finding: ReportedFinding, to: Destination): Issue {
  const { rule, fingerprint, mode, object, file, line, message } = finding;
  const because = loweredBecause(finding);
  const text = `${shownObject(object)}: ${message}${because === undefined ? "" : ` (${because})`}`;
  return {
    description: printableLine(text, 2000),
    check_name: rule,
    fingerprint,
    severity: gitlabSeverities[mode],
    location: { path: pathOf(file, to) ?? printableLine(shownObject(object), 2000), lines: { begin: line ?? 1 } },
  };
}

const ofError = ({ file, line, message }: ReportedError, to: Destination): Issue => ({
  description: printableLine(message, 2000),
  check_name: "not-checked",
  fingerprint: createHash("sha256")
    .update(JSON.stringify([file, message]))
    .digest("hex")
    .slice(0, 32),
  severity: "blocker",
  location: { path: pathOf(file, to) ?? "meshward", lines: { begin: line ?? 1 } },
});

const pathOf = (file: string | null, to: Destination): string | undefined =>
  file === null ? undefined : printableLine(to.repositoryPath(file), 2000);

/** GitLab shows only one of several entries with the same fingerprint. */
function distinct(issues: readonly Issue[]): readonly Issue[] {
  const counts = new Map<string, number>();
  return issues.map((issue) => {
    const count = (counts.get(issue.fingerprint) ?? 0) + 1;
    counts.set(issue.fingerprint, count);
    return count === 1 ? issue : { ...issue, fingerprint: `${issue.fingerprint}-${count}` };
  });
}
