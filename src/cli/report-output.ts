import { Option } from "commander";
import type { RuleError, Skip } from "../engine/evaluate.ts";
import { type Finding, guessedRules } from "../engine/finding.ts";
import { idOf } from "../kube/identity.ts";
import type { Formats } from "../report/format.ts";
import { reportFormats } from "../report/formats.ts";
import type { MeshPicture } from "../report/mesh-picture.ts";
import type { Report, ReportedError } from "../report/report.ts";
import type { Places } from "../report/reported-finding.ts";
import type { FileObject } from "../sources/manifests/file-mesh.ts";
import { counted, listed } from "../text/phrases.ts";
import { UsageError } from "../text/usage-error.ts";
import { type OutputOptions, outputOptions, writeOutputs, type Written } from "./outputs.ts";
import type { ProjectOptions } from "./project-options.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

/** The options of every command that prints a report on findings. */
export interface ReportOptions extends OutputOptions {
  readonly failOn: "deny" | "warn" | "never";
  readonly docsUrl: string;
}

export const reportOutputOptions = () => outputOptions(reportFormats);

export const failOnOption = () =>
  new Option("--fail-on <mode>", "exit with code 1 if a finding has at least this mode")
    .choices(["deny", "warn", "never"])
    .default("deny");

export type Skipped = Report["skipped"][number];

export const skips = (skipped: readonly Skip[]): Skipped[] =>
  skipped.map(({ rule, unknown }) => ({
    rule: rule.id,
    reason: `needs objects of kind ${unknown}, and none are known`,
  }));

/** The rules with findings that are only guesses, each once. */
export const guessed = (guesses: readonly Finding[]): Skipped[] =>
  guessedRules(guesses).map(({ rule, unknown }) => ({ rule, reason: `the files do not show ${unknown}` }));

/** The places of the objects that a user can change, and of those that only explain findings. */
export function placesOf(changeable: readonly FileObject[], others: readonly FileObject[] = []): Places {
  const own = new Map(changeable.map(({ object, manifest }) => [object, manifest]));
  const all = new Map([...others, ...changeable].map(({ object, manifest }) => [object, manifest]));
  return { of: (object) => all.get(object), isChangeable: (object) => own.has(object) };
}

export function failedRule({ rule, subject, error }: RuleError, places: Places): ReportedError {
  const why = error instanceof Error ? error.message : String(error);
  const place = places.of(subject);
  const spot = place?.locate([]);
  const message = `rule ${rule.id} failed on ${idOf(subject)}; this is a bug in Meshward: ${why}`;
  return { file: spot?.file ?? place?.file ?? null, line: spot?.line ?? null, message };
}

/** Throws a UsageError if an output asks for a format in which something other than findings is not written. */
export function requireFormats(outputs: readonly Written[], formats: Formats<never>, flag: string): void {
  const names = Object.keys(formats);
  const other = outputs.find(({ format }) => !names.includes(format));
  if (other !== undefined)
    throw new UsageError(
      `${flag} is written as ${listed(names, "or")}, not as ${other.format}; change --format or --output`,
    );
}

/** Throws a UsageError if a file cannot be written. */
export const writeReport = (
  report: Report,
  outputs: readonly Written[],
  terminal: Terminal,
  picture?: () => MeshPicture,
): void =>
  writeOutputs(report, { formats: reportFormats, outputs, ...(picture === undefined ? {} : { picture }) }, terminal);

/** Says that a denial lets the step pass, because the file that a change may edit can ask for that. */
export function passingNotes(
  { errors, summary }: Report,
  { failOn, settingsFile }: Pick<ReportOptions, "failOn"> & ProjectOptions,
): readonly string[] {
  if (failOn !== "never" || summary.deny === 0 || errors.length > 0) return [];
  const file = settingsFile === undefined ? "" : `, which ${settingsFile} may set`;
  return [`the exit code is 0 in spite of ${counted(summary.deny, "denial")}, because of --fail-on never${file}`];
}

export function exitCode({ errors, summary }: Report, { failOn }: ReportOptions): ExitCode {
  if (errors.length > 0) return 2;
  if (failOn === "never") return 0;
  return summary.deny > 0 || (failOn === "warn" && summary.warn > 0) ? 1 : 0;
}
