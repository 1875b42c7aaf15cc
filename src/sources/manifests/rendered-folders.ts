import { basename, dirname } from "node:path";
import { kustomizationSource } from "./kustomization-sources.ts";
import { isComponent, type Reached, reachedFrom } from "./kustomizations.ts";
import type { LeftOut, ManifestFiles, RenderedFolder } from "./manifest-files.ts";
import { canRender, createRenderer, render, type Renderer } from "./render.ts";
import { chartSources, kustomizationSources, type RenderedSources } from "./rendered-sources.ts";
import type { SourceError } from "./source-error.ts";

/** The output of a tool for one chart or kustomization. */
export interface RenderedText {
  readonly kind: "chart" | "kustomization";
  /** The folder of the chart, or the file of the kustomization. */
  readonly path: string;
  readonly text: string;
  readonly sources: RenderedSources;
}

export interface RenderedFolders {
  readonly texts: readonly RenderedText[];
  /** Real paths of the files that rendered kustomizations use, which are not read by themselves. */
  readonly used: ReadonlySet<string>;
  /** Charts and kustomizations that were not rendered, with the reason. */
  readonly leftOut: readonly LeftOut[];
  readonly errors: readonly SourceError[];
}

/** With more kustomizations, `auto` renders none: a repository may have hundreds, and each costs a part of a second. */
const mostInAuto = 50;

/** Renders the charts, and the kustomizations that are no part of another one; nothing without a renderer. */
export async function renderFolders(found: ManifestFiles, renderer: Renderer | undefined): Promise<RenderedFolders> {
  const rendering = new Rendering(renderer ?? createRenderer("never", {}));
  if (renderer === undefined) return rendering;
  for (const chart of found.charts) await rendering.add("chart", chart, () => chartSources);
  const reached = found.kustomizations.map((one): Kustomization => ({ one, reached: reachedFrom(one.folder) }));
  const inner = new Set(reached.flatMap(({ reached: { folders } }) => [...folders]));
  const outer = reached.filter(({ one: { folder } }) => !inner.has(folder) && !isComponent(folder));
  const isTooMany = renderer.mode === "auto" && outer.length > mostInAuto;
  for (const kustomization of outer) {
    const reason = isTooMany ? `one of ${outer.length} kustomizations` : remoteIn(kustomization, renderer);
    if (reason !== undefined) rendering.leaveOut(kustomization.one, `${reason}: render it, or use --render always`);
    else if (await rendering.add("kustomization", kustomization.one, () => sourcesOf(kustomization)))
      rendering.use(kustomization, found.kustomizations);
  }
  return rendering;
}

interface Kustomization {
  readonly one: RenderedFolder;
  readonly reached: Reached;
}

const sourcesOf = ({ one, reached }: Kustomization): RenderedSources =>
  kustomizationSources(kustomizationSource(one, reached));

const remoteIn = ({ reached: { remote } }: Kustomization, { mode }: Renderer): string | undefined =>
  remote === undefined || mode === "always" ? undefined : `it refers to ${remote}, which is not in these files`;

class Rendering implements RenderedFolders {
  readonly texts: RenderedText[] = [];
  readonly used = new Set<string>();
  readonly leftOut: LeftOut[] = [];
  readonly errors: SourceError[] = [];
  readonly #renderer: Renderer;

  constructor(renderer: Renderer) {
    this.#renderer = renderer;
  }

  async add(
    kind: RenderedText["kind"],
    { path, folder }: RenderedFolder,
    sourcesOfIt: () => RenderedSources,
  ): Promise<boolean> {
    const isRequired = this.#renderer.mode === "always";
    if (!isRequired && !canRender(kind, this.#renderer)) return false;
    const rendered = await render(kind, kind === "chart" ? path : dirname(path), this.#renderer);
    if ("text" in rendered) this.texts.push({ kind, path, text: rendered.text, sources: sourcesOfIt() });
    else if (isRequired)
      this.errors.push({ file: path, message: `${basename(folder)} was not rendered: ${rendered.problem}` });
    else this.leaveOut({ path, folder }, `not rendered: ${rendered.problem}`);
    return "text" in rendered;
  }

  leaveOut({ path }: RenderedFolder, reason: string): void {
    this.leftOut.push({ path, reason });
  }

  /** What a rendered kustomization contains is not read again. */
  use({ reached: { files, folders } }: Kustomization, all: readonly RenderedFolder[]): void {
    for (const file of files) this.used.add(file);
    for (const { path, folder } of all) if (folders.has(folder)) this.used.add(path);
  }
}
