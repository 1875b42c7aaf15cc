import { lstatSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { findProfile } from "../policy/profiles.ts";
import { findProjectFile, type GivenSetting, readProjectFile } from "../project/project-file.ts";
import { projectSettings, type Setting, type SettingName } from "../project/schema.ts";
import type { SourceError } from "../sources/manifests/manifests.ts";
import { unreadable } from "../text/file-errors.ts";
import { clusterWord } from "./cluster-options.ts";
import { shownError } from "./source-errors.ts";
import { tellProblem, type Terminal } from "./terminal.ts";

/** The settings of a project file, as an option value that commands read. */
export interface ProjectOptions {
  /** The path of the file; undefined: there is none. */
  readonly settingsFile?: string;
}

/** What a command was to do is not known, because of an error that was printed. */
export class ToldError extends Error {
  override readonly name = "ToldError";
}

/**
 * Lets a command take what its command line leaves open from `meshward.yaml`. Errors of that file are printed, what they
 * concern is left out, and `onErrors` is called. The command does not run if its paths are left out, or one that it cannot
 * do without, such as the mesh: what it would say of missing paths, or do instead, is of no use.
 */
export function withProjectFile(
  command: Command,
  { terminal, onErrors }: { readonly terminal: Terminal; readonly onErrors: () => void },
): Command {
  return command
    .addOption(
      new Option(
        "--config <file>",
        "take settings from this file instead of the meshward.yaml of the working folder or above it",
      ),
    )
    .addOption(new Option("--no-config", "take no settings from a file"))
    .hook("preAction", async (_command, action) => {
      const { errors, lacksPaths } = await applyProjectFile(action);
      for (const error of errors) tellProblem(shownError(error), terminal);
      if (errors.length > 0) onErrors();
      if (lacksPaths) throw new ToldError("the paths in the project file are broken");
    });
}

interface Applied {
  readonly errors: readonly SourceError[];
  /** Paths were to come from the project file, and an error concerns them. */
  readonly lacksPaths: boolean;
}

async function applyProjectFile(command: Command): Promise<Applied> {
  const config = command.getOptionValue("config") as string | boolean | undefined;
  if (config === false) return { errors: [], lacksPaths: false };
  const folder = resolve();
  const path = typeof config === "string" ? resolve(config) : findProjectFile(folder);
  if (path === undefined) return { errors: [], lacksPaths: false };
  const { file, settings, errors, isBroken } = await readProjectFile(path, folder);
  command.setOptionValueWithSource("settingsFile", file, "config");
  const applied = settings.filter((setting) => isOpen(setting, command)).map((setting) => apply(setting, command));
  const all = [...errors, ...applied.flatMap((one) => one.errors)];
  const names = Object.keys(projectSettings) as SettingName[];
  const hasNoArguments = command.args.length === 0 && names.some((name) => isArgument(name, command) && isBroken(name));
  const lacksPaths = hasNoArguments || applied.some((one) => one.lacksPaths);
  return { errors: all.sort((a, b) => (a.line ?? 0) - (b.line ?? 0)), lacksPaths };
}

/** Whether a setting is the arguments of this command. */
function isArgument(name: SettingName, command: Command): boolean {
  const { option, commands = ["check"] }: Setting = projectSettings[name];
  return option === undefined && commands.some((one) => one === command.name());
}

/** Whether the command has this setting, and its command line leaves it open. */
function isOpen(setting: GivenSetting, command: Command): boolean {
  const { option, commands = ["check"] }: Setting = projectSettings[setting.name];
  if (!commands.some((one) => one === command.name())) return false;
  if (option === undefined) return command.args.length === 0;
  return (
    command.options.some((one) => one.attributeName() === option) && command.getOptionValueSource(option) !== "cli"
  );
}

function apply(setting: GivenSetting, command: Command): Applied {
  const { option: name, shape }: Setting = projectSettings[setting.name];
  const errors = missingPaths(setting);
  const values = setting.values.filter((_, i) => errors[i] === undefined);
  const missing = errors.filter((error) => error !== undefined);
  const isLost = missing.length > 0 && values.length === 0;
  if (name === undefined) {
    if (!isLost) command.processedArgs[0] = values;
    return { errors: missing, lacksPaths: isLost };
  }
  // A check with fewer policies still finds mistakes; one of another mesh would find others.
  if (isLost && shape === "path") return { errors: missing, lacksPaths: true };
  const problem = problemOf(setting) ?? set(name, { ...setting, values }, command);
  return {
    errors: problem === undefined ? missing : [...missing, setting.errorAt(`${setting.name}: ${problem}`)],
    lacksPaths: false,
  };
}

/** An error for each path that there is not, at its line; what else is wrong with a path is told by those who read it. */
function missingPaths({ name, values, errorAt }: GivenSetting): readonly (SourceError | undefined)[] {
  const { shape }: Setting = projectSettings[name];
  if (shape !== "path" && shape !== "paths") return [];
  return values.map((path, i) => {
    if (path === clusterWord) return undefined;
    try {
      return lstatSync(path) && undefined;
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && /^ENO(?:ENT|TDIR)$/.test(String(error.code));
      return isMissing ? errorAt(`${name}: ${path}: ${unreadable(error)}`, i) : undefined;
    }
  });
}

/** Sets an option, or says why it cannot have this value. */
function set(name: string, setting: GivenSetting, command: Command): string | undefined {
  const option = command.options.find((one) => one.attributeName() === name);
  if (option === undefined) return undefined;
  try {
    command.setOptionValueWithSource(name, parsed(option, setting), "config");
    return undefined;
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    return error.message;
  }
}

/** What the schema of the file does not say. */
function problemOf({ name, values: [value = ""] }: GivenSetting): string | undefined {
  const found = name === "profile" ? findProfile(value) : undefined;
  return found !== undefined && "problem" in found ? found.problem : undefined;
}

/** The value that the option would have on the command line. Throws InvalidArgumentError. */
function parsed(option: Option, { name, values }: GivenSetting): unknown {
  const { shape }: Setting = projectSettings[name];
  if (shape === "flag") return values.length > 0;
  const { parseArg } = option;
  if (parseArg === undefined) return shape === "paths" ? values : values[0];
  return values.reduce<unknown>((known, value) => parseArg.call(option, value, known), option.defaultValue);
}
