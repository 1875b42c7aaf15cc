import { allKinds } from "../kube/kinds.ts";
import type { JsonSchema } from "../policy/json-schema.ts";
import { listed } from "../text/phrases.ts";

/** The shape of a setting, which says how its value becomes the value of an option. */
export type SettingShape = "text" | "path" | "texts" | "paths" | "outputs" | "flag" | "assignments";

/** The commands that read a project file. */
export type ProjectCommand = "check" | "test" | "audit" | "explain" | "can" | "connections";

const every = ["check", "audit", "explain"] as const;

export interface Setting {
  /** The option that it sets, as commander names its value; `undefined`: the arguments of a command. */
  readonly option: string | undefined;
  readonly shape: SettingShape;
  /** The commands that it is for. Default: `check`. */
  readonly commands?: readonly ProjectCommand[];
  readonly description: string;
  readonly choices?: readonly string[];
}

const kindNames = "Kinds, such as Service or Deployment.";

/**
 * The settings of `meshward.yaml`. Each has the meaning of the option of the same name; those about manifests and reports are
 * for `check`, because other commands read other things.
 */
export const projectSettings = {
  paths: {
    option: undefined,
    shape: "paths",
    description: "Files and folders to check, if the command line names none.",
  },
  tests: {
    option: undefined,
    shape: "paths",
    commands: ["test"],
    description: "Files and folders with tests, if the command line names none.",
  },
  mesh: {
    option: "mesh",
    shape: "path",
    commands: ["check", "can", "connections"],
    description:
      "The mesh that the manifests change, or `cluster`. Default: the manifests are the mesh. `can` and `connections` then need no `--mesh`.",
  },
  policies: {
    option: "policies",
    shape: "paths",
    commands: every,
    description: "MeshwardPolicy and MeshwardException documents.",
  },
  profile: {
    option: "profile",
    shape: "text",
    commands: every,
    description: "The built-in policies. Default: baseline.",
  },
  partial: { option: "partial", shape: "texts", description: `The manifests contain only part of these. ${kindNames}` },
  complete: { option: "complete", shape: "texts", description: `The manifests contain all of these. ${kindNames}` },
  crds: {
    option: "crds",
    shape: "path",
    description: "CustomResourceDefinitions that the manifests are compared with.",
  },
  namespace: {
    option: "namespace",
    shape: "text",
    commands: ["check", "can"],
    description: "The namespace of objects that name none, and of names without one in the options of `can`.",
  },
  clusterDomain: {
    option: "clusterDomain",
    shape: "text",
    commands: [...every, "can", "connections"],
    description: "The DNS domain of the cluster's services.",
  },
  render: {
    option: "render",
    shape: "text",
    commands: ["check", "test"],
    description: "Whether Helm charts and kustomizations are rendered.",
    choices: ["auto", "never", "always"],
  },
  substitute: {
    option: "substitute",
    shape: "assignments",
    description: "Values of variables such as ${NAME} in the manifests.",
  },
  substituteFrom: {
    option: "substituteFrom",
    shape: "path",
    description: "A file with one NAME=VALUE in each line, as for substitute.",
  },
  failOn: {
    option: "failOn",
    shape: "text",
    commands: ["check", "audit"],
    description: "The lowest mode of a finding that fails the command.",
    choices: ["deny", "warn", "never"],
  },
  baseline: { option: "baseline", shape: "path", description: "A file with findings that are known, and do not fail." },
  output: {
    option: "output",
    shape: "outputs",
    description: "Reports that are written too: `sarif=meshward.sarif`, or a format for standard output.",
  },
  docsUrl: {
    option: "docsUrl",
    shape: "text",
    commands: ["check", "audit"],
    description: "The base URL of the rule pages that findings link to.",
  },
  skipUnknown: {
    option: "skipUnknown",
    shape: "flag",
    description: "Leave out files that are not manifests even if their paths are given, as a pre-commit hook does.",
  },
} as const satisfies Readonly<Record<string, Setting>>;

export type SettingName = keyof typeof projectSettings;

const text: JsonSchema = { type: "string", pattern: "\\S" };

function valueOf({ shape, choices }: Setting): JsonSchema {
  if (shape === "flag") return { type: "boolean" };
  if (shape === "assignments") return { type: "object", minProperties: 1, additionalProperties: { type: "string" } };
  if (shape === "text" || shape === "path")
    return choices === undefined ? text : { type: "string", enum: [...choices] };
  return { type: "array", minItems: 1, items: text };
}

/** The JSON Schema (draft-07) of `meshward.yaml`, as plain JSON. */
export const projectSchema = (): JsonSchema => ({
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "meshward.yaml",
  description:
    "Settings of a repository, which a laptop, a hook and CI share. Paths are relative to this file. An option of the command line wins.",
  type: "object",
  additionalProperties: false,
  properties: Object.fromEntries(
    Object.entries(projectSettings).map(([name, setting]: [string, Setting]) => [
      name,
      { ...valueOf(setting), description: describedSetting(setting), ...examplesOf(name) },
    ]),
  ),
});

const describedSetting = ({ description, commands = ["check"] }: Setting): string =>
  `${description} For ${listed(
    commands.map((command) => `\`${command}\``),
    "and",
  )}.`;

const examplesOf = (name: string): JsonSchema =>
  name === "partial" || name === "complete" ? { examples: [[...allKinds].slice(0, 3)] } : {};
