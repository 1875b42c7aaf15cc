import { type Dirent, existsSync, readdirSync, readlinkSync, realpathSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { unreadable } from "../../text/file-errors.ts";
import { readDocuments } from "./documents.ts";
import { IgnorePatterns } from "./ignore-patterns.ts";
import { kustomizationNames, patchFilesAbove, patchFilesOf } from "./kustomizations.ts";
import type { SourceError } from "./source-error.ts";
import { readFileText } from "./source-text.ts";
import { chainsawTest, expectation, ofTestTool, partialFilesOf } from "./test-tools.ts";

/** A file to read. `named`: the user gave its path, so it must be a manifest. */
export interface ManifestFile {
  readonly path: string;
  readonly real: string;
  readonly named: boolean;
  /** Why a file that is named would be left out in a folder. */
  readonly partial?: string;
}

export interface ManifestFiles {
  readonly files: readonly ManifestFile[];
  readonly errors: readonly SourceError[];
  readonly ignored: readonly LeftOut[];
  /** Helm charts and kustomizations, which `ignored` contains too. */
  readonly charts: readonly RenderedFolder[];
  readonly kustomizations: readonly RenderedFolder[];
  /** The files and folders of `files` and `ignored` that each folder added. */
  readonly byFolder: ReadonlyMap<string, readonly string[]>;
}

/** A folder that a tool can render. */
export interface RenderedFolder {
  /** The folder of a chart, or the file of a kustomization. */
  readonly path: string;
  /** The real path of the folder. */
  readonly folder: string;
}

/** A file or folder that is left out on purpose. */
export interface LeftOut {
  readonly path: string;
  readonly reason: string;
}

/** The path that means standard input. */
export const standardInput = "-";

const extensions = /\.(?:yaml|yml|json)$/i;
const chartFile = "Chart.yaml";
export const kustomizePatch = "kustomize patch";
export const ignoreFile = ".meshwardignore";

export interface FindOptions {
  /** The files are those of the past: folders that contain nothing are no mistake. */
  readonly mayBeEmpty?: boolean | undefined;
}

/**
 * The files of the paths, in the order of the paths; files of a folder are sorted by name. Each file occurs once, even
 * if several links and paths lead to it. Never throws.
 */
export async function findManifestFiles(
  paths: readonly string[],
  { mayBeEmpty = false }: FindOptions = {},
): Promise<ManifestFiles> {
  const search = new Search(mayBeEmpty);
  for (const path of paths) await search.add(path);
  return search.result();
}

/**
 * A search of more entries than this is an error. Large repositories have some ten thousand; a link to a folder such as
 * `/usr` leads to more, and listing them would keep a server from starting.
 */
const mostEntries = 250_000;

interface Ignores {
  readonly folder: string;
  readonly patterns: IgnorePatterns;
}

/** A folder whose entries are looked at. */
interface Folder {
  readonly path: string;
  readonly real: string;
  /** Those that its entries are subject to. */
  readonly ignores: readonly Ignores[];
}

class Search {
  /** Files by real path. */
  readonly #files = new Map<string, ManifestFile>();
  readonly #ignored = new Map<string, LeftOut>();
  readonly #errors: SourceError[] = [];
  readonly #folders = new Set<string>();
  /** Why the files that a kustomization or a test names are left out, by real path. */
  readonly #partial = new Map<string, string>();
  readonly #seenAbove = new Set<string>();
  readonly #charts: RenderedFolder[] = [];
  readonly #kustomizations: RenderedFolder[] = [];
  readonly #byFolder = new Map<string, readonly string[]>();
  /** Paths of git submodules. */
  readonly #submodules = new Set<string>();
  readonly #mayBeEmpty: boolean;
  #entriesSeen = 0;

  constructor(mayBeEmpty: boolean) {
    this.#mayBeEmpty = mayBeEmpty;
  }

  async add(path: string): Promise<void> {
    if (path === standardInput) {
      this.#files.set(standardInput, { path, real: standardInput, named: true });
      return;
    }
    const found = this.#inspect(path);
    if (found === undefined) return;
    const { real, isFolder } = found;
    this.#addPatchesAbove(isFolder ? real : dirname(real));
    if (!isFolder) {
      // A file that a folder added already keeps its place in the order.
      this.#files.set(real, { path: this.#files.get(real)?.path ?? path, real, named: true });
      return;
    }
    if (this.#folders.has(real)) return;
    const chart = chartOfTemplates(path, real);
    if (chart === undefined) {
      await this.#addFolder(path, real);
      return;
    }
    // Templates are text until their chart is rendered, which is possible only as a whole.
    this.#byFolder.set(path, [chart.path]);
    if (!this.#folders.has(chart.folder)) this.#chart(chart);
    this.#folders.add(chart.folder);
  }

  /** Whether a folder is a chart or its templates, which are left out. */
  #isOfChart(folder: RenderedFolder, entries: readonly Dirent[]): boolean {
    if (entries.some((entry) => entry.name === chartFile)) this.#chart(folder);
    else if (areTemplates(folder.folder, entries))
      this.#ignored.set(folder.folder, {
        path: folder.path,
        reason: "templates of a Helm chart, whose Chart.yaml is not there",
      });
    else return false;
    return true;
  }

  #chart(chart: RenderedFolder): void {
    this.#ignored.set(chart.folder, { path: chart.path, reason: "Helm chart: render it with `helm template`" });
    this.#charts.push(chart);
  }

  async #addFolder(path: string, real: string): Promise<void> {
    const known = new Set(this.#paths());
    const errors = this.#errors.length;
    await this.#walk(path, real, await this.#ignoresAbove(path));
    const added = [...this.#paths()].filter((one) => !known.has(one));
    this.#byFolder.set(path, added);
    if (added.length === 0 && this.#errors.length === errors && !this.#mayBeEmpty)
      this.#fail(path, "this folder contains no .yaml, .yml or .json file; correct the path");
  }

  #addPatchesAbove(folder: string): void {
    if (this.#seenAbove.has(folder)) return;
    this.#seenAbove.add(folder);
    for (const patch of patchFilesAbove(folder)) this.#partial.set(realPathOf(patch, patch), kustomizePatch);
  }

  result(): ManifestFiles {
    const files: ManifestFile[] = [];
    const ignored = [...this.#ignored].filter(([real]) => !this.#files.get(real)?.named).map(([, entry]) => entry);
    for (const [real, file] of this.#files) {
      const reason = this.#partial.get(real);
      if (reason === undefined) files.push(file);
      else if (file.named) files.push({ ...file, partial: reason });
      else ignored.push({ path: file.path, reason });
    }
    const [charts, kustomizations, byFolder] = [this.#charts, this.#kustomizations, this.#byFolder];
    return { files, errors: this.#errors, ignored, charts, kustomizations, byFolder };
  }

  async #walk(folder: string, real: string, ignores: readonly Ignores[]): Promise<void> {
    if (this.#folders.has(real)) return;
    this.#folders.add(real);
    const entries = this.#entries(folder);
    if (entries === undefined) return;
    if (entries.length === 0 && this.#submodules.has(folder) && !this.#mayBeEmpty) {
      this.#fail(
        folder,
        `this git submodule is not checked out, so its files would not be checked: git submodule update --init (submodules: true of actions/checkout), or name it in ${ignoreFile}`,
      );
      return;
    }
    if (entries.some((entry) => entry.name === ".gitmodules")) await this.#submodulesOf(folder);
    if (this.#isOfChart({ path: folder, folder: real }, entries)) return;
    const hasIgnores = entries.some((entry) => entry.name === ignoreFile);
    const below = hasIgnores ? [...ignores, ...(await this.#ignoresOf(folder))] : ignores;
    for (const entry of entries) await this.#entry({ path: folder, real, ignores: below }, entry);
  }

  async #entry(folder: Folder, entry: Dirent): Promise<void> {
    const isWanted = isWantedName(entry.name);
    if (!isWanted && !mayBeFolder(entry)) return;
    const path = join(folder.path, entry.name);
    const stats = typeOf(path, entry);
    const isFolder = typeof stats !== "string" && stats.isDirectory();
    if (isFolder ? isHidden(entry.name) : !isWanted) return;
    const real = realOf(entry, path, folder);
    const reason = reasonToIgnore(path, isFolder, folder.ignores);
    if (reason !== undefined) this.#ignored.set(real, { path, reason });
    else if (typeof stats === "string") this.#fail(path, stats);
    else if (isFolder) await this.#below(path, real, folder.ignores);
    else if (stats.isFile()) await this.#file(path, real);
  }

  /** A link to a folder above would lead out of the folder that was given, and possibly through the whole disk. */
  async #below(path: string, real: string, ignores: readonly Ignores[]): Promise<void> {
    if (!this.#folders.has(real) && leadsUp(dirname(path), real))
      this.#ignored.set(path, { path, reason: "a link to a folder that contains it" });
    else await this.#walk(path, real, ignores);
  }

  async #file(path: string, real: string): Promise<void> {
    if (this.#files.has(real)) return;
    if (kustomizationNames.includes(basename(path))) await this.#kustomization(path, real);
    else this.#files.set(real, { path, real, named: false });
    if (chainsawTest.test(basename(path))) await this.#test(path);
  }

  /** A test that cannot be read is reported as each file is. */
  async #test(path: string): Promise<void> {
    const reading = await readFileText(path);
    if ("problem" in reading) return;
    for (const { value } of readDocuments(reading.text).documents)
      for (const file of partialFilesOf(value, path)) this.#partial.set(realPathOf(file, file), ofTestTool);
  }

  async #kustomization(path: string, real: string): Promise<void> {
    this.#ignored.set(real, { path, reason: "kustomization: render it with `kubectl kustomize`" });
    this.#kustomizations.push({ path, folder: dirname(real) });
    const reading = await readFileText(path);
    if ("problem" in reading) {
      this.#fail(path, reading.problem);
      return;
    }
    const { documents, positionOf } = readDocuments(reading.text);
    for (const document of documents) {
      for (const problem of document.problems) {
        this.#errors.push({ file: path, ...positionOf(problem.offset), message: problem.message });
      }
      for (const patch of patchFilesOf(document.value, path)) {
        // kustomize reports a patch file that does not exist.
        this.#partial.set(realPathOf(patch, patch), kustomizePatch);
      }
    }
  }

  /** Undefined if there are too many, or if the folder cannot be read. */
  #entries(folder: string): Dirent[] | undefined {
    if (this.#entriesSeen > mostEntries) return undefined;
    try {
      const entries = readdirSync(folder, { withFileTypes: true });
      this.#entriesSeen += entries.length;
      if (this.#entriesSeen > mostEntries) {
        this.#fail(folder, `more than ${mostEntries} files and folders were found up to here; give a smaller folder`);
        return undefined;
      }
      return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (error) {
      this.#fail(folder, unreadable(error));
      return undefined;
    }
  }

  async #submodulesOf(folder: string): Promise<void> {
    const reading = await readFileText(join(folder, ".gitmodules"));
    if (!("text" in reading)) return;
    for (const [, path = ""] of reading.text.matchAll(/^\s*path\s*=\s*"?(.+?)"?\s*$/gm))
      this.#submodules.add(join(folder, path));
  }

  async #ignoresOf(folder: string): Promise<Ignores[]> {
    const path = join(folder, ignoreFile);
    const reading = await readFileText(path);
    if ("text" in reading) return [{ folder, patterns: new IgnorePatterns(reading.text) }];
    this.#fail(path, reading.problem);
    return [];
  }

  /** A folder below the working directory is subject to the ignore files of the folders above it. */
  async #ignoresAbove(folder: string): Promise<Ignores[]> {
    const steps = relative("", folder).split(sep);
    if (steps[0] === ".." || steps[0] === "" || relative("", folder) === resolve(folder)) return [];
    const found: Ignores[] = [];
    for (let count = 0; count < steps.length; count++) {
      const above = join(".", ...steps.slice(0, count));
      if (existsSync(join(above, ignoreFile))) found.push(...(await this.#ignoresOf(above)));
    }
    return found;
  }

  #inspect(path: string): { real: string; isFolder: boolean } | undefined {
    try {
      return { real: realpathSync.native(path), isFolder: statSync(path).isDirectory() };
    } catch (error) {
      this.#fail(path, unreadable(error));
      return undefined;
    }
  }

  #fail(file: string, message: string): void {
    this.#errors.push({ file, message });
  }

  *#paths(): Iterable<string> {
    for (const { path } of this.#files.values()) yield path;
    for (const { path } of this.#ignored.values()) yield path;
  }
}

// Commands have nothing else to do meanwhile, and synchronous calls take a twentieth of the time.

/** The type of an entry, of a link that of its target; the reason if there is none. The listing of a folder has those of ten thousand files in one call. */
function typeOf(path: string, entry: Dirent): Dirent | Stats | string {
  if (!entry.isSymbolicLink()) return entry;
  try {
    return statSync(path);
  } catch (error) {
    return unreadableLink(path, error);
  }
}

function unreadableLink(path: string, error: unknown): string {
  const isDangling = error instanceof Error && "code" in error && error.code === "ENOENT";
  if (!isDangling) return unreadable(error);
  return `there is no such file or folder as ${readlinkSync(path)}, to which this symbolic link leads: correct the link`;
}

/** The chart to whose templates a folder belongs. */
function chartOfTemplates(path: string, real: string): RenderedFolder | undefined {
  let up = "..";
  for (let folder = real; dirname(folder) !== folder; folder = dirname(folder), up = join(up, "..")) {
    const above = dirname(folder);
    if (basename(folder) !== "templates" || !existsSync(join(above, chartFile))) continue;
    const shown = join(path, up);
    return { path: realPathOf(shown, shown) === above ? shown : above, folder: above };
  }
  return undefined;
}

/** Whether a folder has what only the templates of a chart have, although its Chart.yaml is not there. */
const areTemplates = (folder: string, entries: readonly Dirent[]): boolean =>
  basename(folder) === "templates" && entries.some(({ name }) => name === "_helpers.tpl" || name === "NOTES.txt");

/** Whether a folder is the other one, a real path, or below it. */
function leadsUp(folder: string, real: string): boolean {
  const from = realPathOf(folder, resolve(folder));
  return from === real || from.startsWith(real.endsWith(sep) ? real : `${real}${sep}`);
}

/** What is no link is where the folder is that contains it. */
const realOf = (entry: Dirent, path: string, folder: Folder): string =>
  entry.isSymbolicLink() ? realPathOf(path, resolve(path)) : join(folder.real, entry.name);

function realPathOf(path: string, otherwise: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return otherwise;
  }
}

function reasonToIgnore(path: string, isFolder: boolean, ignores: readonly Ignores[]): string | undefined {
  if (isIgnored(path, isFolder, ignores)) return `named in ${ignoreFile}`;
  return !isFolder && expectation.test(basename(path)) ? ofTestTool : undefined;
}

function isIgnored(path: string, isFolder: boolean, ignores: readonly Ignores[]): boolean {
  for (const { folder, patterns } of ignores.toReversed()) {
    const said = patterns.ignores(relative(folder, path).split(sep).join("/"), isFolder);
    if (said !== undefined) return said;
  }
  return false;
}

function mayBeFolder(entry: Dirent): boolean {
  return entry.isDirectory() || entry.isSymbolicLink();
}

function isHidden(folder: string): boolean {
  return folder === "node_modules" || folder.startsWith(".");
}

function isWantedName(name: string): boolean {
  return extensions.test(name) || kustomizationNames.includes(name);
}
