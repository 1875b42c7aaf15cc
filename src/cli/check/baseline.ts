import { readFileSync, writeFileSync } from "node:fs";
import { Option } from "commander";
import { shownObject } from "../../report/phrases.ts";
import { type KnownFinding, type Report, type ReportedFinding, reportOf } from "../../report/report.ts";
import { unreadable, unwritable } from "../../text/file-errors.ts";
import { counted } from "../../text/phrases.ts";
import { UsageError } from "../../text/usage-error.ts";

/** `--baseline` and `--write-baseline`. */
export interface BaselineOptions {
  readonly baseline?: string;
  readonly writeBaseline?: string;
}

export const baselineOptions = (): readonly Option[] => [
  new Option("--baseline <file>", "findings in this file are known: they are only recorded, and do not fail the check"),
  new Option(
    "--write-baseline <file>",
    "write the denials and warnings that are found to this file, as known findings",
  ),
];

const apiVersion = "meshward.io/v1alpha1";
const kind = "Baseline";

/** The baseline of one run. */
export interface Comparison {
  /** The report with known findings only recorded, if there is a baseline. */
  compared(report: Report): Report;
  /**
   * Writes the baseline if that is asked for, and returns what a user should know of it. Throws a UsageError if it cannot be
   * written, or would not be complete.
   */
  write(): string | undefined;
}

/** Findings that are written are known from then on. Throws a UsageError if `--baseline` cannot be read. */
export function baselineOf({ baseline: old, writeBaseline: file }: BaselineOptions): Comparison {
  const listed = readBaseline(old);
  let known: readonly KnownFinding[] = [];
  let judged: Report | undefined;
  return {
    compared(report) {
      judged = report;
      known = knownIn(report);
      if (file !== undefined) return withKnown(report, known, file);
      return listed === undefined || old === undefined ? report : withKnown(report, listed, old);
    },
    write() {
      if (file === undefined || judged === undefined) return undefined;
      writeBaseline(known, judged, file);
      return `${file} has ${counted(known.length, "known finding")} now: ${modesOf(judged)}. They fail no check that is given --baseline ${file}`;
    },
  };
}

/**
 * Reads a baseline; undefined without one. Throws a UsageError if it cannot be read completely, because what is missing from
 * it would fail the check.
 */
function readBaseline(file: string | undefined): readonly KnownFinding[] | undefined {
  if (file === undefined) return undefined;
  const document = parsed(file);
  const again = `write it again with --write-baseline ${file}`;
  if (!isRecord(document) || document.kind !== kind || !Array.isArray(document.findings))
    throw new UsageError(`--baseline ${file} is not a baseline of Meshward: correct the path, or ${again}`);
  if (document.apiVersion !== apiVersion)
    throw new UsageError(
      `--baseline ${file} has version ${JSON.stringify(document.apiVersion)}, and this Meshward reads ${apiVersion}: ${again}`,
    );
  return document.findings.map((entry: unknown, i) => {
    if (isKnownFinding(entry)) return entry;
    throw new UsageError(
      `--baseline ${file}: findings[${i}] needs fingerprint, rule, object and message as text, and file as text or null: ${again}`,
    );
  });
}

function parsed(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--baseline ${file}: ${unreadable(error)}`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--baseline ${file} is not valid JSON (${why}): write it again with --write-baseline ${file}`);
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isKnownFinding = (entry: unknown): entry is KnownFinding =>
  isRecord(entry) &&
  ["fingerprint", "rule", "object", "message"].every((name) => typeof entry[name] === "string") &&
  (entry.file === null || typeof entry.file === "string");

/**
 * The report with known findings only recorded. Each entry stands for one finding, in the same file if there is one, so a
 * second finding of the same fingerprint is new.
 */
function withKnown(report: Report, known: readonly KnownFinding[], file: string): Report {
  const left = Map.groupBy(known, ({ fingerprint }) => fingerprint);
  const take = (finding: ReportedFinding, isSame: (entry: KnownFinding) => boolean): boolean => {
    const entries = left.get(finding.fingerprint) ?? [];
    const i = entries.findIndex(isSame);
    if (i >= 0) left.set(finding.fingerprint, entries.toSpliced(i, 1));
    return i >= 0;
  };
  const inPlace = report.findings.map((finding) => take(finding, (entry) => entry.file === finding.file));
  const findings = report.findings.map((finding, i) =>
    inPlace[i] === true || take(finding, () => true)
      ? { ...recorded(finding, file), baselineState: "unchanged" as const }
      : { ...finding, baselineState: unlisted(finding) },
  );
  const accepted = report.accepted.map((finding) => ({ ...finding, baselineState: unlisted(finding) }));
  const { objects } = report.summary;
  const stale = [...left.values()].flat();
  const baseline = { file, known: known.length - stale.length, stale };
  return { ...reportOf({ ...report, findings, accepted, objects }), baseline };
}

/** A baseline lists denials and warnings only. Whether anything else is new, only the change can tell. */
const unlisted = ({ mode, introduced, ...finding }: ReportedFinding): "new" | "unchanged" =>
  introduced || (mode !== "audit" && !("exception" in finding)) ? "new" : "unchanged";

function recorded(finding: ReportedFinding, file: string): ReportedFinding {
  if (finding.mode === "audit") return finding;
  const step = { step: "baseline", from: finding.mode, to: "audit", reason: `${file} lists it as known` } as const;
  return { ...finding, mode: "audit", lowered: [...finding.lowered, step] };
}

/** The denials and warnings of a report, as entries of a baseline, by object. */
const knownIn = ({ findings }: Report): readonly KnownFinding[] =>
  findings
    .filter(({ mode }) => mode !== "audit")
    .map(({ fingerprint, rule, object, message, file }) => ({
      ...{ fingerprint, rule, object: shownObject(object), message, file },
    }))
    .sort((a, b) => compare(`${a.object} ${a.rule} ${a.fingerprint}`, `${b.object} ${b.rule} ${b.fingerprint}`));

/** `2 denials and 1 warning`. */
function modesOf({ findings }: Report): string {
  const of = (mode: string) => findings.filter((finding) => finding.mode === mode).length;
  return `${counted(of("deny"), "denial")} and ${counted(of("warn"), "warning")}`;
}

/** Throws a UsageError if not everything was checked, because the rest would be unknown, or if the file cannot be written. */
function writeBaseline(findings: readonly KnownFinding[], { errors, basis }: Report, file: string): void {
  if (errors.length > 0)
    throw new UsageError(
      `--write-baseline ${file}: nothing is written, because not everything could be checked: correct the ${counted(errors.length, "error")} first`,
    );
  try {
    writeFileSync(file, `${JSON.stringify({ apiVersion, kind, version: basis.version, findings }, null, 2)}\n`);
  } catch (error) {
    throw new UsageError(`--write-baseline ${file} cannot be written: ${unwritable(error)}`);
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** What a user should know about a baseline: entries for findings that are gone. */
export function baselineNotes({ baseline }: Report): readonly string[] {
  if (baseline === undefined || baseline.stale.length === 0) return [];
  const { file, stale } = baseline;
  const shown = stale.slice(0, mostStale).map(({ rule, object }) => `${rule} on ${object}`);
  const more = stale.length > mostStale ? `, and ${stale.length - mostStale} more` : "";
  return [
    `${counted(stale.length, "finding")} in ${file} no longer ${stale.length === 1 ? "exists" : "exist"}: ${shown.join(", ")}${more}; remove them with --write-baseline ${file}`,
  ];
}
const mostStale = 5;
