import type { Formats } from "./format.ts";
import { githubReport } from "./github.ts";
import { gitlabReport } from "./gitlab.ts";
import { jsonReport } from "./json.ts";
import { junitReport } from "./junit.ts";
import { markdownReport } from "./markdown.ts";
import type { Report } from "./report.ts";
import { sarifReport } from "./sarif.ts";
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
} satisfies Formats<Report>;

/** The formats that show what a change does to the mesh (`changes`), which takes time to find out. */
export const showsChanges = (format: string): boolean => format === "json" || format === "markdown";
