import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { findProfile } from "../policy/profiles.ts";
import { findProjectFile, type GivenSetting, readProjectFile } from "../project/project-file.ts";
import { projectSettings, type Setting, type SettingName } from "../project/schema.ts";
import type { SourceError } from "../sources/manifests/manifests.ts";
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
 * concern is left out, and `onErrors` is called. The command does not run if its paths are left out: what it would say of
 * missing paths, or do instead, is of no use.
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
      const { errors, hasNoPaths } = await applyProjectFile(action);
      for (const error of errors) tellProblem(shownError(error), terminal);
      if (errors.length > 0) onErrors();
      if (hasNoPaths) throw new ToldError("the paths in the project file are broken");
    });
}

interface Applied {
  readonly errors: readonly SourceError[];
  /** The paths were to come from the project file, and an error concerns them. */
  readonly hasNoPaths: boolean;
}

async function applyProjectFile(command: Command): Promise<Applied> {
  const config = command.getOptionValue("config") as string | boolean | undefined;
  if (config === false) return { errors: [], hasNoPaths: false };
  const folder = resolve();
  const path = typeof config === "string" ? resolve(config) : findProjectFile(folder);
  if (path === undefined) return { errors: [], hasNoPaths: false };
  const { file, settings, errors, isBroken } = await readProjectFile(path, folder);
  command.setOptionValueWithSource("settingsFile", file, "config");
  const all = [...errors, ...settings.flatMap((setting) => apply(setting, command))];
  const names = Object.keys(projectSettings) as SettingName[];
  const hasNoPaths = command.args.length === 0 && names.some((name) => isArgument(name, command) && isBroken(name));
  return { errors: all.sort((a, b) => (a.line ?? 0) - (b.line ?? 0)), hasNoPaths };
}

/** Whether a setting is the arguments of this command. */
function isArgument(name: SettingName, command: Command): boolean {
  const { option, commands = ["check"] }: Setting = projectSettings[name];
  return option === undefined && commands.some((one) => one === command.name());
}

function apply(setting: GivenSetting, command: Command): readonly SourceError[] {
  const { option: name, commands = ["check"] }: Setting = projectSettings[setting.name];
  if (!commands.some((one) => one === command.name())) return [];
  if (name === undefined) {
    if (command.args.length === 0) command.processedArgs[0] = setting.values;
    return [];
  }
  const option = command.options.find((one) => one.attributeName() === name);
  if (option === undefined || command.getOptionValueSource(name) === "cli") return [];
  const problem = problemOf(setting);
  if (problem !== undefined) return [setting.errorAt(`${setting.name}: ${problem}`)];
  try {
    command.setOptionValueWithSource(name, parsed(option, setting), "config");
    return [];
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    return [setting.errorAt(`${setting.name}: ${error.message}`)];
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
