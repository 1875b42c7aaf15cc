import { execFileSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { basename, delimiter, join, resolve } from "node:path";
import { isSystemError } from "../../text/file-errors.ts";

/** `auto` uses the tools that are installed; `always` requires them, and lets them fetch what is remote. */
export type RenderMode = "auto" | "never" | "always";
export const renderModes: readonly RenderMode[] = ["auto", "never", "always"];

export interface Renderer {
  readonly mode: RenderMode;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A call of a tool that is slower than this is stopped. */
  readonly limitMs: number;
  /** Tools of which a call was stopped: the next ones get a tenth of the time, so that many do not take hours. */
  readonly stopped: Set<string>;
}

export const createRenderer = (mode: RenderMode, env: Renderer["env"], limitMs = 60_000): Renderer => ({
  ...{ mode, env, limitMs },
  stopped: new Set(),
});

export type Rendering = { readonly text: string } | { readonly problem: string };

/** In bytes. */
const mostOutput = 64 << 20;

/** Whether a tool for it is on the PATH. */
export const canRender = (what: "kustomization" | "chart", { env }: Renderer): boolean =>
  commandFor(what, "", env) !== undefined;

/** Renders the kustomization or the chart in a folder, as it would be applied without further values. */
export function render(what: "kustomization" | "chart", folder: string, renderer: Renderer): Rendering {
  const { env, stopped, limitMs } = renderer;
  const command = commandFor(what, folder, env);
  if (command === undefined) return { problem: `install ${toolsFor(what)}, or render it first` };
  const [tool = "", ...args] = command;
  const shown = [basename(tool), ...args].join(" ");
  const timeout = stopped.has(tool) ? limitMs / 10 : limitMs;
  try {
    const text = execFileSync(tool, args, {
      ...{ env: { ...env }, encoding: "utf8", timeout, maxBuffer: mostOutput, killSignal: "SIGKILL" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return text.trim() === "" ? { problem: `\`${shown}\` printed nothing` } : { text };
  } catch (error) {
    if (!isTimeout(error)) return { problem: `\`${shown}\` ${failureOf(error)}` };
    stopped.add(tool);
    return { problem: `\`${shown}\` did not end within ${timeout / 1000} seconds` };
  }
}

const isTimeout = (error: unknown): boolean => isSystemError(error) && error.code === "ETIMEDOUT";

function failureOf(error: unknown): string {
  if (isSystemError(error) && error.code === "ENOBUFS") return `printed more than ${mostOutput >> 20} MiB`;
  const said = error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
  const [line = "without a message"] = said.split("\n").filter((one) => one.trim() !== "");
  return `failed: ${line.slice(0, 300)}`;
}

const toolsFor = (what: "kustomization" | "chart"): string => (what === "chart" ? "helm" : "kustomize or kubectl");

function commandFor(
  what: "kustomization" | "chart",
  folder: string,
  env: Renderer["env"],
): readonly string[] | undefined {
  if (what === "chart") {
    const helm = onPath("helm", env);
    return helm === undefined ? undefined : [helm, "template", releaseNameFor(folder), folder];
  }
  const kustomize = onPath("kustomize", env);
  if (kustomize !== undefined) return [kustomize, "build", folder];
  const kubectl = onPath("kubectl", env);
  return kubectl === undefined ? undefined : [kubectl, "kustomize", folder];
}

/** The name of the folder, where helm accepts it (helm.sh/helm/v3 pkg/chartutil ValidateReleaseName). */
function releaseNameFor(chart: string): string {
  const name = basename(resolve(chart));
  return name.length <= 53 && /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/.test(name)
    ? name
    : "release";
}

function onPath(tool: string, { PATH = "" }: Renderer["env"]): string | undefined {
  return PATH.split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, tool))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The template of a chart that a document of `helm template` comes from; undefined if the output does not say it. */
export function templateOf(text: string, offset: number, chart: string): string | undefined {
  const start = text.lastIndexOf("\n---", offset) + 1;
  const [, template] = /^# Source: [^/\n]+\/(\S+)/m.exec(text.slice(start, offset)) ?? [];
  return template === undefined ? undefined : join(chart, template);
}
