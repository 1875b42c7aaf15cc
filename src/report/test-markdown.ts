import { counted } from "../text/phrases.ts";
import type { Destination } from "./format.ts";
import { comment } from "./markdown-comment.ts";
import { markdownBlock, markdownCode, markdownLine } from "./markdown-text.ts";
import { type TestedCase, type TestReport, uncovered } from "./test-report.ts";

/** A comment for a pull request: the cases that fail, and what no case tests. */
export function markdownTestReport(report: TestReport, to: Destination): string {
  const { summary, files, errors } = report;
  const { passed, failed } = summary;
  const problems = [
    ...(failed > 0 ? [`❌ ${counted(failed, "policy test")} failed`] : []),
    ...(summary.errors > 0 ? [`❌ ${counted(summary.errors, "error")}`] : []),
  ];
  const title = `Meshward: ${problems.length === 0 ? "✅ " : `${problems.join(", ")}, `}${counted(passed, "policy test")} passed`;
  const bad = files.flatMap(({ file, cases }) =>
    cases.filter(({ status }) => status !== "passed").map((one) => itemOf(one, to.repositoryPath(file))),
  );
  return comment(title, [
    {
      heading: "Errors",
      items: errors.map(
        ({ file, line, message }) =>
          `- ${file === null ? "" : `${markdownCode(`${to.repositoryPath(file)}:${line ?? 1}`)}: `}${markdownLine(message)}`,
      ),
      noun: "error",
    },
    { heading: "Failed", items: bad, noun: "case" },
    {
      heading: "Not tested",
      items: uncovered(report).map((one) => `- ${markdownLine(one)}`),
      noun: "document",
      isFolded: true,
    },
  ]);
}

function itemOf({ name, line, status, outcome, differences, messages }: TestedCase, path: string): string {
  const lines =
    status === "error"
      ? messages
      : differences.flatMap(({ what, expected, found }) => [
          `  expect.${what}:`,
          ...expected.map((text) => `- ${text}`),
          ...found.map((text) => `+ ${text}`),
        ]);
  const first = `**${markdownLine(name)}** in ${markdownCode(`${path}:${line ?? 1}`)}`;
  return [first, `Meshward: ${markdownLine(outcome)}`, markdownBlock(lines, "diff"), ""].join("\n\n");
}
