import { printableLine, printableText } from "../text/printable.ts";
import type { Destination } from "./format.ts";
import { countsOf, loweredBecause, policiesOf, shownObject, additionsOf } from "./phrases.ts";
import type { Report, ReportedError, ReportedFinding } from "./report.ts";

/** GitHub shows at most so many annotations of each level for a step, and drops the others. */
export const annotationsPerLevel = 10;

export interface Annotation {
  readonly level: "error" | "warning" | "notice";
  readonly title: string;
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
  readonly message: string;
}

/**
 * Workflow commands of GitHub Actions, which annotate the changed lines of a pull request. Errors and denials come first.
 * What exceeds the limit of a step is printed as lines of the log.
 * See https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions.
 */
export function githubReport(report: Report, to: Destination): string {
  const annotations = [
    ...report.errors.map(ofError),
    ...(["deny", "warn", "audit"] as const).flatMap((mode) =>
      report.findings.filter((finding) => finding.mode === mode).map(ofFinding),
    ),
  ];
  const summary = [countsOf(report), policiesOf(report.basis)];
  return githubAnnotations(annotations, summary, to);
}

/** Annotations, the rest of them as lines, and lines that end the log. */
export function githubAnnotations(
  annotations: readonly Annotation[],
  summary: readonly string[],
  to: Pick<Destination, "repositoryPath">,
): string {
  const counts = new Map<Annotation["level"], number>();
  const lines: string[] = [];
  const rest: string[] = [];
  for (const annotation of annotations) {
    const count = (counts.get(annotation.level) ?? 0) + 1;
    counts.set(annotation.level, count);
    if (count <= annotationsPerLevel) lines.push(commandOf(annotation, to));
    else rest.push(logLineOf(annotation, to));
  }
  const note =
    rest.length === 0 ? [] : [`GitHub shows ${annotationsPerLevel} annotations of each level; ${rest.length} more:`];
  return [...lines, ...note, ...rest, ...summary.map(logged), ""].join("\n");
}

const ofError = ({ file, line, message }: ReportedError): Annotation => ({
  ...{ level: "error", title: "Meshward cannot check this", file, line, message },
  column: null,
});

export const githubLevels = { deny: "error", warn: "warning", audit: "notice" } as const;

function ofFinding(finding: ReportedFinding): Annotation {
  const { rule, mode, object, file, line, column, message, fix, docs } = finding;
  const because = loweredBecause(finding);
  const sentence = `${shownObject(object)}: ${message}${because === undefined ? "" : ` (${because})`}`;
  const text = [sentence, `Fix: ${fix}`, ...additionsOf(finding), docs]
    .map((one) => printableLine(one, 2000))
    .join("\n");
  return { level: githubLevels[mode], title: rule, file, line, column, message: text };
}

function commandOf({ level, title, file, line, column, message }: Annotation, to: Pick<Destination, "repositoryPath">) {
  const place = file === null || !isFile(file) ? {} : { file: to.repositoryPath(file), line, col: column };
  const properties = Object.entries({ ...place, title })
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${escapedProperty(String(value))}`);
  return `::${level} ${properties.join(",")}::${escapedData(printableText(message, 20_000))}`;
}

/** Standard input has no file that could be annotated. */
const isFile = (file: string): boolean => !file.startsWith("<");

/** As `escapeData` and `escapeProperty` of @actions/core. */
const escapedData = (text: string): string =>
  text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const escapedProperty = (text: string): string =>
  escapedData(printableLine(text, 2000)).replaceAll(":", "%3A").replaceAll(",", "%2C");

function logLineOf({ level, title, file, line, message }: Annotation, to: Pick<Destination, "repositoryPath">): string {
  const place = file === null ? "" : ` ${to.repositoryPath(file)}:${line ?? 1}`;
  return logged(`${level}${place} [${title}] ${message.split("\n", 1)[0] ?? ""}`);
}

/** A line that GitHub does not read as a command, whatever names and values of users are in it. */
const logged = (text: string): string =>
  printableLine(text, 2000)
    .replace(/^(\s*)::/, "$1: :")
    .replaceAll("##[", "## [");
