import { type Formats, jsonReport } from "./format.ts";
import { annotationsPerLevel, githubLevels, githubReport } from "./github.ts";
import { gitlabReport, gitlabSeverities } from "./gitlab.ts";
import { htmlReport } from "./html.ts";
import { junitReport } from "./junit.ts";
import { markdownHeadings, markdownReport } from "./markdown.ts";
import type { Report, ReportedMode } from "./report.ts";
import { sarifLevels, sarifReport } from "./sarif.ts";
import { githubTestReport } from "./test-github.ts";
import { junitTestReport } from "./test-junit.ts";
import { markdownTestReport } from "./test-markdown.ts";
import type { TestReport } from "./test-report.ts";
import { textTestReport } from "./test-text.ts";
import { textReport } from "./text.ts";

/** The formats of a report on findings. A new one is a function in a file of its own, and a line here. */
export const reportFormats = {
  text: (report, { page }) => textReport(report, page),
  json: jsonReport,
  sarif: sarifReport,
  junit: junitReport,
  github: githubReport,
  gitlab: gitlabReport,
  markdown: markdownReport,
  html: htmlReport,
} satisfies Formats<Report>;

const asModes = { deny: "deny", warn: "warn", audit: "audit" } as const;
const passes = "passes, with output";

/** Who reads a format, how it shows the modes of findings, and what else its reader has to know. The documentation is made from it. */
export const formatTable: Readonly<Record<keyof typeof reportFormats, FormatDescription>> = {
  text: { reader: "people", shows: asModes },
  json: { reader: "programs; everything that the other formats show", shows: asModes },
  sarif: {
    reader: "code scanning: SARIF 2.1.0",
    shows: sarifLevels,
    notes:
      "A finding that an exception accepts or a baseline lists is a result with a suppression, and with a baseline each result is `new` or `unchanged`. What could not be read is a notification. Rules have their help texts, and results the fingerprint `meshward/v1`. Code scanning shows only findings that are in a file, so an audit of a cluster has nothing to show there.",
  },
  junit: { reader: "test reports: JUnit XML", shows: { deny: "failure", warn: passes, audit: passes } },
  github: {
    reader: "annotations of GitHub Actions, on standard output",
    shows: githubLevels,
    notes: `GitHub shows ${annotationsPerLevel} annotations of each level for a step. Denials come first, and the rest is printed in the log.`,
  },
  gitlab: {
    reader: "code quality reports of GitLab",
    shows: gitlabSeverities,
    notes: "A file that could not be read has severity `blocker`.",
  },
  markdown: {
    reader: "a comment on a pull request",
    shows: markdownHeadings,
    notes:
      "With `--mesh` or `--since`, what changes for namespaces and hosts comes first, in the words of `explain`. A comment has at most 65,000 characters, because GitHub rejects comments of more than 65,536. It begins with `<!-- meshward -->`, so that a workflow finds the comment that it wrote before.",
  },
  html: {
    reader: "people, as a [page](guides/audit.md#as-a-page) to keep as an artifact",
    shows: asModes,
  },
};

interface FormatDescription {
  readonly reader: string;
  readonly shows: Readonly<Record<ReportedMode, string>>;
  readonly notes?: string;
}

/** The formats of the results of policy tests. */
export const testFormats = {
  text: (report, { page }) => textTestReport(report, page),
  json: jsonReport,
  junit: junitTestReport,
  github: githubTestReport,
  markdown: markdownTestReport,
} satisfies Formats<TestReport>;

/** The formats that show what a change does to the mesh (`changes`), which takes time to find out. */
export const showsChanges = (format: string): boolean => format === "json" || format === "markdown";

/** The formats that show what a change does to who can reach what (`connections`). */
export const formatsWithConnections = ["text", "json", "markdown"] as const;
