import { Option } from "commander";
import { createRenderer, type Renderer, type RenderMode, renderModes } from "../sources/manifests/render.ts";
import type { Terminal } from "./terminal.ts";

export interface RenderOptions {
  readonly render: RenderMode;
}

export const renderOption = () =>
  new Option(
    "--render <when>",
    "render Helm charts and kustomizations with helm, kustomize or kubectl: auto (if they are installed, and nothing is remote), always, never",
  )
    .choices(renderModes)
    .default("auto");

/** Undefined: nothing is rendered. */
export const rendererOf = ({ render }: RenderOptions, { env }: Pick<Terminal, "env">): Renderer | undefined =>
  render === "never" ? undefined : createRenderer(render, env);
