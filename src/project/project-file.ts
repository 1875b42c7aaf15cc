import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, relative } from "node:path";
import type { ValidateFunction } from "ajv";
import type { Path } from "../kube/read.ts";
import { documentValidator } from "../policy/document-validator.ts";
import { readSettingsFile } from "../sources/manifests/settings-file.ts";
import type { SourceError } from "../sources/manifests/source-error.ts";
import { projectSchema, type Setting, type SettingName, projectSettings } from "./schema.ts";

const projectFileNames = ["meshward.yaml", "meshward.yml"] as const;

/** A setting with its value as the command line would contain it. */
export interface GivenSetting {
  readonly name: SettingName;
  /** One text for each time that the option would be given; paths are relative to the working folder. */
  readonly values: readonly string[];
  /** An error at its place, or at that of one of its values. */
  errorAt(message: string, value?: number): SourceError;
}

export interface ProjectFile {
  readonly file: string;
  /** Settings without errors. */
  readonly settings: readonly GivenSetting[];
  /** One for each mistake, with its line. */
  readonly errors: readonly SourceError[];
  /** Whether an error may concern a setting, which is left out then. */
  isBroken(name: SettingName): boolean;
}

/** The project file of a folder: in it or in one above, up to the root of the git repository; undefined without one. */
export function findProjectFile(folder: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    const found = projectFileNames.map((name) => join(at, name)).find((path) => existsSync(path));
    if (found !== undefined) return found;
    if (existsSync(join(at, ".git")) || dirname(at) === at) return undefined;
  }
}

let compiled: ValidateFunction | undefined;
const validator = (): ValidateFunction => (compiled ??= documentValidator().compile(projectSchema()));

/** Reads a project file. Settings with errors are left out. Never throws. `folder` is the working folder. */
export async function readProjectFile(path: string, folder: string): Promise<ProjectFile> {
  const file = relative(folder, path) || path;
  const { value, errors, errorAt } = await readSettingsFile(path, validator());
  const shown = errors.map((error) => ({ ...error, file }));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return { file, settings: [], errors: shown, isBroken: () => shown.length > 0 };
  const settings = Object.entries(value as Readonly<Record<string, unknown>>).flatMap(([name, given]) => {
    if (!isSetting(name) || errors.some(({ at }) => at[0] === name)) return [];
    const at: Path = [name];
    const inFolder = (one: string): string =>
      isAbsolute(one) || one === "cluster" ? one : relative(folder, join(dirname(path), one)) || ".";
    const values = valuesOf(projectSettings[name], given, inFolder);
    const placed = (message: string, i?: number) => ({
      ...errorAt(i === undefined || !Array.isArray(given) ? at : [...at, i], message),
      file,
    });
    return [{ name, values, errorAt: placed }];
  });
  // A field that there is not can be a misspelt setting, if that one is missing.
  const isBroken = (name: SettingName): boolean =>
    errors.some(({ at: [field] }) => field === undefined || field === name || !isSetting(String(field))) &&
    !settings.some((setting) => setting.name === name);
  return { file, settings, errors: shown, isBroken };
}

const isSetting = (name: string): name is SettingName => Object.hasOwn(projectSettings, name);

/** The schema has checked the types. */
function valuesOf({ shape }: Setting, value: unknown, inFolder: (path: string) => string): readonly string[] {
  if (shape === "flag") return value === true ? ["true"] : [];
  if (shape === "text") return [String(value)];
  if (shape === "path") return [inFolder(String(value))];
  if (shape === "assignments")
    return Object.entries(value as Readonly<Record<string, string>>).map(([name, text]) => `${name}=${text}`);
  const texts = value as readonly string[];
  if (shape === "paths") return texts.map(inFolder);
  return shape === "outputs" ? texts.map((text) => inFileOf(text, inFolder)) : texts;
}

/** The file of an output, after `=` or alone, as for `--output`. */
function inFileOf(output: string, inFolder: (path: string) => string): string {
  const at = output.indexOf("=");
  if (at >= 0) return `${output.slice(0, at + 1)}${inFolder(output.slice(at + 1))}`;
  return /[./\\]/.test(output) ? inFolder(output) : output;
}
