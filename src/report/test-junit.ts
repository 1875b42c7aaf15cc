import { junitDocument } from "./junit.ts";
import type { Difference, TestedCase, TestReport } from "./test-report.ts";

/** A suite for each file of tests. Files that cannot be read are cases with an error. */
export function junitTestReport({ files, errors, time }: TestReport): string {
  const broken = errors.map(({ file, line, message }) => ({
    ...{ name: "cannot be read", className: file ?? "meshward", file: file ?? undefined, line: line ?? undefined },
    outcome: { kind: "error", message } as const,
  }));
  return junitDocument([
    ...files.map(({ file, name, cases }) => ({
      ...{ name, timestamp: time },
      cases: cases.map((one) => ({
        ...{ name: one.name, className: name, file, line: one.line ?? undefined, seconds: one.seconds },
        ...outcomeOf(one),
      })),
    })),
    ...(broken.length === 0 ? [] : [{ name: "errors", timestamp: time, cases: broken }]),
  ]);
}

function outcomeOf({ status, outcome, differences, messages }: TestedCase) {
  if (status === "passed") return { output: outcome };
  if (status === "error")
    return { outcome: { kind: "error", message: "it could not run", details: messages.join("\n") } as const };
  const details = [`Meshward: ${outcome}`, ...differences.flatMap(differenceLines), ...messages].join("\n");
  const message = `unexpected: ${differences.map(({ what }) => what).join(", ")}`;
  return { outcome: { kind: "failure", type: "unexpected", message, details } as const };
}

const differenceLines = ({ what, expected, found }: Difference): readonly string[] => [
  `expect.${what}:`,
  ...expected.map((text) => `- ${text}`),
  ...found.map((text) => `+ ${text}`),
];
