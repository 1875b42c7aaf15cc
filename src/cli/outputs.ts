import { constants } from "node:buffer";
import { existsSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import type { Destination, Formats } from "../report/format.ts";
import { unwritable } from "../text/file-errors.ts";
import { nearest } from "../text/nearest.ts";
import { listed } from "../text/phrases.ts";
import { UsageError } from "../text/usage-error.ts";
import { manifestLines } from "./manifest-lines.ts";
import type { Terminal } from "./terminal.ts";

/** One `--output`: a format, a file, or both. */
export interface Output {
  /** Undefined: the one of `--format`. */
  readonly format?: string;
  /** Undefined: standard output. */
  readonly file?: string;
}

export interface OutputOptions {
  /** The format of standard output, and of files for which no other is given. */
  readonly format?: string;
  readonly output?: readonly Output[];
}

/** `--format` and `--output`, for the formats of a command. */
export function outputOptions<R>(formats: Formats<R>): readonly Option[] {
  const names = Object.keys(formats);
  return [
    new Option("--format <format>", `format of the report (default: "text")`).choices(names),
    new Option(
      "-o, --output <format[=file]>",
      `write the report in this format to the file too; can be given several times. Without a file: to standard output. A file alone gets the report instead of standard output`,
    ).argParser((value: string, before?: readonly Output[]) => [...(before ?? []), readOutput(value, names)]),
  ];
}

/** A value with `=` starts with a format. Of others, one without a dot and a slash is a format, and any other one a file. */
function readOutput(value: string, names: readonly string[]): Output {
  const at = value.indexOf("=");
  const format = at < 0 ? value : value.slice(0, at);
  if (names.includes(format)) {
    if (at < 0) return { format };
    const file = value.slice(at + 1);
    if (file !== "") return { format, file };
    throw new InvalidArgumentError(`The file is missing after ${value}`);
  }
  if (/[./\\]/.test(format)) return { file: value };
  const near = nearest(format, names);
  throw new InvalidArgumentError(
    `There is no format ${JSON.stringify(format)}${near === undefined ? "." : `, did you mean ${near}?`} Formats are ${listed(names, "and")}; a file of that name is ./${value}`,
  );
}

/** A report that is written: its format, and its file; undefined: standard output. */
export interface Written {
  readonly format: string;
  readonly file: string | undefined;
}

/**
 * Where a report goes, each place once. It is printed as text unless the options say otherwise.
 * Throws a UsageError if two reports go to the same place.
 */
export function outputsOf(options: OutputOptions): readonly Written[] {
  const { format = "text", output = [] } = options;
  const toFiles = output.flatMap((one) =>
    one.file === undefined ? [] : [{ format: one.format ?? format, file: one.file }],
  );
  for (const [first, second] of Map.groupBy(toFiles, ({ file }) => resolve(file)).values())
    if (first !== undefined && second !== undefined)
      throw samePlace(`${first.format} and ${second.format}`, second.file, second.format);
  return [...printedFormat(options), ...toFiles];
}

/** The format of standard output, if anything goes there. */
function printedFormat({ format, output = [] }: OutputOptions): readonly Written[] {
  const isMoved = output.some((one) => one.format === undefined);
  const printed = new Set(format === undefined || isMoved ? [] : [format]);
  for (const one of output) if (one.format !== undefined && one.file === undefined) printed.add(one.format);
  if (!isMoved && printed.size === 0) printed.add("text");
  const [one, other] = printed;
  if (other !== undefined) throw samePlace(`${one} and ${other}`, "standard output", other);
  return [...printed].map((name) => ({ format: name, file: undefined }));
}

const samePlace = (formats: string, place: string, second: string): UsageError =>
  new UsageError(
    `two reports (${formats}) would go to ${place}: give one of them another file, --output ${second}=FILE`,
  );

interface Writing<R> extends Pick<Destination, "picture"> {
  readonly formats: Formats<R>;
  readonly outputs: readonly Written[];
}

/** Writes a report to all places. Throws a UsageError, after the others are written, if a file cannot be written. */
export function writeOutputs<R>(report: R, { formats, outputs, picture }: Writing<R>, terminal: Terminal): void {
  const repositoryPath = pathsFrom(repositoryRoot(resolve(), terminal.env));
  const problems: string[] = [];
  for (const { format, file } of outputs) {
    const page = file === undefined ? { colour: terminal.colour, columns: terminal.columns } : { colour: false };
    const to = { page, repositoryPath, lines: manifestLines, ...(picture === undefined ? {} : { picture }) };
    const text = formatted(format, () => formats[format]?.(report, to) ?? "");
    if (file === undefined) terminal.out(text);
    else problems.push(...problemsOfWriting(file, text));
  }
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
}

/** Throws a UsageError if the report is longer than a string can be: it has findings in the millions. */
function formatted(format: string, write: () => string): string {
  try {
    return write();
  } catch (error) {
    if (!(error instanceof RangeError) || error.message !== "Invalid string length") throw error;
    throw new UsageError(
      `the report as ${format} would have more than ${Math.round(constants.MAX_STRING_LENGTH / 1e6)} million characters: check fewer files at once, and correct their problems first`,
    );
  }
}

function problemsOfWriting(file: string, text: string): readonly string[] {
  try {
    writeFileSync(file, text);
    return [];
  } catch (error) {
    return [`--output ${file} cannot be written: ${unwritable(error)}`];
  }
}

/** The folder that paths in reports for CI systems start from: the checkout of the CI system, else the git repository. */
export function repositoryRoot(folder: string, env: Terminal["env"]): string {
  const given = [env.GITHUB_WORKSPACE, env.CI_PROJECT_DIR].find(
    (root) => root !== undefined && root !== "" && isInside(relative(root, folder)),
  );
  if (given !== undefined) return resolve(given);
  for (let root = folder; ; root = dirname(root)) {
    if (existsSync(join(root, ".git"))) return root;
    if (dirname(root) === root) return folder;
  }
}

const isInside = (path: string): boolean => !isAbsolute(path) && path.split(sep, 1)[0] !== "..";

function pathsFrom(root: string): (file: string) => string {
  return (file) => {
    const path = relative(root, resolve(file));
    const shown = isInside(path) ? path : resolve(file);
    return file.startsWith("<") ? file : shown.replaceAll(sep, "/");
  };
}
