import type { Report } from "./report.ts";

/** Formats the report as one JSON document, indented by two spaces, with a final newline. */
export const jsonReport = (report: Report): string => `${JSON.stringify(report, null, 2)}\n`;
