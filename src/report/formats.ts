import { type Formats, jsonReport } from "./format.ts";
import { githubReport } from "./github.ts";
import { gitlabReport } from "./gitlab.ts";
import { htmlReport } from "./html.ts";
import { junitReport } from "./junit.ts";
import { markdownReport } from "./markdown.ts";
import type { Report } from "./report.ts";
import { sarifReport } from "./sarif.ts";
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
