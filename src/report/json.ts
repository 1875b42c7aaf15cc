import type { Report } from "./report.ts";

/** The report as one JSON document, two spaces deep, with a newline at its end. */
export const jsonReport = (report: Report): string => `${JSON.stringify(report, null, 2)}\n`;
