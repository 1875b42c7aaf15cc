/** Formats a report as one JSON document, indented by two spaces, with a final newline. */
export const jsonReport = (report: object): string => `${JSON.stringify(report, null, 2)}\n`;
