import { counted } from "../text/phrases.ts";
import type { Destination } from "./format.ts";
import { type Annotation, githubAnnotations } from "./github.ts";
import { type TestedCase, type TestReport, uncovered } from "./test-report.ts";

/** Annotations at the cases that fail, and at the errors in files of tests. */
export function githubTestReport(report: TestReport, to: Destination): string {
  const { files, errors, summary } = report;
  const broken: readonly Annotation[] = errors.map(({ file, line, message }) => ({
    ...{ level: "error", title: "Meshward cannot run this", file, line, message, column: null },
  }));
  const failed = files.flatMap(({ file, cases }) =>
    cases.filter(({ status }) => status !== "passed").map((one) => annotationOf(one, file)),
  );
  const missing = uncovered(report);
  const lines = [
    `${summary.passed} passed, ${summary.failed} failed, ${counted(summary.errors, "error")}`,
    ...(missing.length === 0 ? [] : [`not tested: ${missing.join("; ")}`]),
  ];
  return githubAnnotations([...broken, ...failed], lines, to);
}

function annotationOf({ name, line, outcome, differences, messages, status }: TestedCase, file: string): Annotation {
  const lines = differences.flatMap(({ what, expected, found }) => [
    `expect.${what}:`,
    ...expected.map((text) => `- ${text}`),
    ...found.map((text) => `+ ${text}`),
  ]);
  const message = status === "error" ? messages.join("\n") : [`Meshward: ${outcome}`, ...lines].join("\n");
  return { level: "error", title: name, file, line, column: null, message };
}
