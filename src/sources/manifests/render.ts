import { accessSync, constants, statSync } from "node:fs";
import { basename, delimiter, join, resolve } from "node:path";
import { runTool } from "./tool-process.ts";

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
export async function render(what: "kustomization" | "chart", folder: string, renderer: Renderer): Promise<Rendering> {
  const { env, stopped, limitMs } = renderer;
  const command = commandFor(what, folder, env);
  if (command === undefined) return { problem: `install ${toolsFor(what)}, or render it first` };
  const [tool = "", ...args] = command;
  const shown = [basename(tool), ...args].join(" ");
  const timeoutMs = stopped.has(tool) ? limitMs / 10 : limitMs;
  const output = await runTool(tool, args, { env, timeoutMs, mostBytes: mostOutput });
  if ("problem" in output) {
    if (output.isTimeout === true) stopped.add(tool);
    return { problem: `\`${shown}\` ${output.problem}` };
  }
  return output.text.trim() === "" ? { problem: `\`${shown}\` printed nothing` } : output;
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
