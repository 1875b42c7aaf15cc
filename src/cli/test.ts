import { rulesInForce } from "../custom-rules/in-force.ts";
import { watch as watchFiles } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Command } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { Coverage } from "../policy-tests/coverage.ts";
import { differencesOf, outcomeLine } from "../policy-tests/differences.ts";
import { type PreparedCase, runCase } from "../policy-tests/run-case.ts";
import { isTestFile } from "../policy-tests/test-file.ts";
import { type LoadPolicies, type PreparedFile, readTestFile } from "../policy-tests/test-files.ts";
import { testFormats } from "../report/formats.ts";
import { type TestedCase, type TestedFile, type TestReport, testReportOf } from "../report/test-report.ts";
import { rules } from "../rules/index.ts";
import { findManifestFiles } from "../sources/manifests/manifest-files.ts";
import type { SourceError } from "../sources/manifests/manifests.ts";
import { treeSignature } from "../sources/manifests/tree-signature.ts";
import { printableLine } from "../text/printable.ts";
import { UsageError } from "../text/usage-error.ts";
import { type OutputOptions, outputOptions, outputsOf, writeOutputs } from "./outputs.ts";
import { policiesOf } from "./policy-options.ts";
import { type RenderOptions, rendererOf, renderOption } from "./render-option.ts";
import { type ExitCode, tellNote, tellProblem, type Terminal } from "./terminal.ts";

export interface TestOptions extends OutputOptions, RenderOptions {
  readonly run?: string;
  readonly watch?: boolean;
}

export function testCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const command = new Command("test")
    .description("run tests of policies: changes of a mesh, with the decisions that are expected")
    .argument("[path...]", "files of tests, or folders with meshward-test.yaml or NAME.meshward-test.yaml files", ["."])
    .option("--run <text>", "run only cases whose name contains this text")
    .addOption(renderOption())
    .option("--watch", "run again whenever a file that the tests read changes")
    .action(async (paths: string[], options: TestOptions) => finish(await test(paths, options, terminal)));
  for (const option of outputOptions(testFormats)) command.addOption(option);
  return command;
}

/** Runs the tests and prints a report. Throws a UsageError if there are none. */
export async function test(paths: readonly string[], options: TestOptions, terminal: Terminal): Promise<ExitCode> {
  const outputs = outputsOf(options);
  const once = async () => {
    const { report, reads } = await run(paths, options, terminal);
    for (const error of report.errors) tellProblem(shownTestError(error), terminal);
    writeOutputs(report, { formats: testFormats, outputs }, terminal);
    return { report, reads };
  };
  if (options.watch !== true) return exitCode((await once()).report);
  const written = outputs.flatMap(({ file }) => (file === undefined ? [] : [file]));
  for (let places = paths; ; ) {
    const known = places;
    const before = await stateOf(known, written);
    const reads = await once().then(
      (done) => done.reads,
      (error: unknown) => {
        if (!(error instanceof UsageError)) throw error;
        tellProblem(error.message, terminal);
        return [];
      },
    );
    tellNote("the tests run again when a file changes; Ctrl-C ends this", terminal);
    places = [...paths, ...reads];
    await changed(places, async () => (await stateOf(known, written)) !== before, terminal.stop);
    if (terminal.stop.aborted) return 0;
  }
}

const shownTestError = ({ file, line, message }: TestReport["errors"][number]): string =>
  printableLine(`${[file, line].filter((part) => part !== null).join(":")}: ${message}`, 2000);

function exitCode({ summary }: TestReport): ExitCode {
  if (summary.errors > 0) return 2;
  return summary.failed > 0 ? 1 : 0;
}

async function run(paths: readonly string[], options: TestOptions, terminal: Terminal) {
  const { files, errors } = await testFilesIn(paths);
  const prepared: PreparedFile[] = [];
  const load = loadedOnce();
  for (const file of files) prepared.push(await readTestFile(file, load, rendererOf(options, terminal)));
  const coverage = new Coverage();
  const tested: TestedFile[] = [];
  for (const file of prepared) tested.push(await testedFile(file, options, coverage));
  const all = [...errors, ...prepared.flatMap((file) => file.errors)];
  if (options.run !== undefined && tested.every(({ cases }) => cases.length === 0) && all.length === 0)
    throw new UsageError(`--run ${options.run}: no case has this text in its name`);
  const report = testReportOf({
    version: packageJson.version,
    time: new Date().toISOString(),
    files: tested,
    coverage: { settings: coverage.settings, rules: { found: coverage.found, all: rules.length } },
    errors: all.map(({ file, line, message }) => ({ file, line: line ?? null, message })),
  });
  return { report, reads: prepared.flatMap(({ reads }) => reads) };
}

/** Files that are named, whatever their names, and test files in folders. Throws a UsageError if there are none. */
async function testFilesIn(
  paths: readonly string[],
): Promise<{ files: readonly string[]; errors: readonly SourceError[] }> {
  const found = await findManifestFiles(paths);
  const files = found.files.filter(({ path, named }) => named || isTestFile(path)).map(({ path }) => path);
  if (files.length + found.errors.length === 0)
    throw new UsageError(
      `there is no meshward-test.yaml in ${paths.join(", ")}: give the path of your tests, or write a first one with meshward check --write-test`,
    );
  return { files, errors: found.errors };
}

/** Policies are loaded once for all files that name the same ones. */
function loadedOnce(): LoadPolicies {
  const loaded = new Map<string, ReturnType<LoadPolicies>>();
  return (paths, profile) => {
    const key = JSON.stringify([paths, profile]);
    const known =
      loaded.get(key) ??
      policiesOf({ policies: paths, profile }).then((found) => ({
        ...found,
        rules: rulesInForce(rules, found.policies),
      }));
    loaded.set(key, known);
    return known;
  };
}

async function testedFile(
  file: PreparedFile,
  { run: text = "" }: TestOptions,
  coverage: Coverage,
): Promise<TestedFile> {
  const cases: TestedCase[] = [];
  for (const prepared of file.cases)
    if (prepared.test.name.includes(text)) cases.push(await testedCase(prepared, prepared.line, coverage));
  return { file: file.file, name: file.name, cases };
}

async function testedCase(prepared: PreparedCase, line: number | null, coverage: Coverage): Promise<TestedCase> {
  const start = performance.now();
  const outcome = await runCase(prepared);
  coverage.add(prepared.policies, outcome);
  const differences = differencesOf(prepared.test.expect, outcome);
  const isBroken = outcome.problems.length > 0;
  return {
    name: prepared.test.name,
    line,
    status: isBroken ? "error" : differences.length > 0 ? "failed" : "passed",
    seconds: (performance.now() - start) / 1000,
    outcome: outcomeLine(outcome),
    differences: isBroken ? [] : differences,
    messages: isBroken ? outcome.problems : outcome.messages,
  };
}

/** Several changes of one save are one. */
const settleMs = 150;

/** A text that changes with the files in these places, but for those that the command itself writes. */
async function stateOf(places: readonly string[], written: readonly string[]): Promise<string> {
  const own = written.map((file) => `${resolve(file)} `);
  const signatures = await Promise.all([...new Set(places.map((place) => resolve(place)))].map(treeSignature));
  const lines = signatures.flatMap((signature) => signature.split("\n"));
  return lines.filter((line) => !own.some((file) => line.startsWith(file))).join("\n");
}

/**
 * Resolves when a file in one of these places changes, or when the user asks to stop. Nobody watches while the tests run;
 * `isOutdated` says whether something has changed meanwhile.
 */
async function changed(
  places: readonly string[],
  isOutdated: () => Promise<boolean>,
  stop: AbortSignal,
): Promise<void> {
  const folders = new Set(await Promise.all(places.map(folderOf)));
  await new Promise<void>((done) => {
    let timer: NodeJS.Timeout | undefined;
    const watchers = [...folders].flatMap((folder) => watching(folder, () => (timer ??= setTimeout(end, settleMs))));
    const end = () => {
      clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
      stop.removeEventListener("abort", end);
      done();
    };
    stop.addEventListener("abort", end);
    if (stop.aborted) end();
    void isOutdated().then((is) => (is ? end() : undefined));
  });
}

const folderOf = (path: string): Promise<string> =>
  stat(path).then(
    (found) => (found.isDirectory() ? path : dirname(path)),
    () => dirname(path),
  );

/** A folder that is gone is noticed by its parent. */
function watching(folder: string, onChange: () => void) {
  try {
    const watcher = watchFiles(folder, { recursive: true }, onChange);
    watcher.on("error", onChange);
    return [watcher];
  } catch {
    return [];
  }
}
