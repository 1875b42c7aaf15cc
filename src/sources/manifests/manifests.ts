import type { Readable } from "node:stream";
import { isObject } from "../../kube/read.ts";
import { DocumentReader, type Manifest } from "./document-objects.ts";
import type { DocumentMemory } from "./document-memory.ts";
import { documentsIn, readDocuments } from "./documents.ts";
import {
  type FindOptions,
  findManifestFiles,
  kustomizePatch,
  type LeftOut,
  type ManifestFile,
  type ManifestFiles,
  standardInput,
} from "./manifest-files.ts";
import { type Renderer, templateOf } from "./render.ts";
import { type RenderedFolders, type RenderedText, renderFolders } from "./rendered-folders.ts";
import { hasObject, isBlank, mayMatter } from "./known-kinds.ts";
import type { SourceError } from "./source-error.ts";
import { type Reading, readFileText, readStreamText } from "./source-text.ts";
import type { Substitution } from "./substitution.ts";
import { Slices } from "./slices.ts";

export type { Manifest } from "./document-objects.ts";
export type { SourceError } from "./source-error.ts";

export interface ManifestSet {
  readonly manifests: readonly Manifest[];
  readonly errors: readonly SourceError[];
  /** Files that were left out on purpose, which is no error. */
  readonly ignored: readonly LeftOut[];
  /** The folders among the paths that contain files, but no object and no error, with the reasons. */
  readonly empty: readonly SourceError[];
}

export interface ReadOptions extends FindOptions {
  /** Standard input, for the path `-`. */
  readonly input?: Readable | undefined;
  /** Replaces variables in the text of each file. */
  readonly substitution?: Substitution | undefined;
  /** Leaves out files without manifests even if their paths are given, as in folders. */
  readonly skipUnknown?: boolean | undefined;
  /** Renders charts and kustomizations; undefined: they are left out. */
  readonly renderer?: Renderer | undefined;
  /** What was read of the same files before. */
  readonly memory?: DocumentMemory | undefined;
  /** Called after each file. */
  readonly onFile?: (() => void) | undefined;
}

/**
 * Reads the manifests of files, of folders (all their `.yaml`, `.yml` and `.json` files) and of `input` for the path
 * `-`. A file or document that cannot be read becomes an error, and the others are still read. Never throws.
 */
export async function readManifests(paths: readonly string[], options: ReadOptions = {}): Promise<ManifestSet> {
  const { substitution = (text: string) => text } = options;
  const found = await findManifestFiles(paths, options);
  const rendered = await renderFolders(found, options.renderer);
  const { texts, used, errors } = rendered;
  const set: Growing = { manifests: [], errors: [...found.errors, ...errors], ignored: leftOutOf(found, rendered) };
  const slices = new Slices();
  for (const file of found.files) {
    await slices.pause();
    if ((!file.named && used.has(file.real)) || isLeftOut(set, file, options)) continue;
    const reading = await read(file, options.input);
    const shown = shownFile(file, options);
    if ("problem" in reading) set.errors.push({ file: shown.path, message: reading.problem });
    else await addFile(set, shown, substitution(reading.text), { slices, memory: options.memory });
    options.onFile?.();
  }
  for (const text of texts) addRendered(set, text, substitution);
  return { ...set, empty: emptyFolders(set, found.byFolder, new Set(texts.map(({ path }) => path))) };
}

/** Hooks name the files that changed, whatever they are. */
function isLeftOut(set: Growing, { path, partial }: ManifestFile, { skipUnknown = false }: ReadOptions): boolean {
  if (!skipUnknown || partial === undefined) return false;
  set.ignored.push({ path, reason: partial });
  return true;
}

function shownFile(file: ManifestFile, { skipUnknown = false }: ReadOptions): ManifestFile {
  if (file.path === standardInput) return { ...file, path: "<stdin>" };
  return skipUnknown ? { ...file, named: false } : file;
}

/** What was rendered is not left out, and what could not be has another reason. */
function leftOutOf({ ignored }: ManifestFiles, rendered: RenderedFolders): LeftOut[] {
  const known = new Set([...rendered.texts, ...rendered.leftOut].map(({ path }) => path));
  return [...ignored.filter(({ path }) => !known.has(path) && !rendered.used.has(path)), ...rendered.leftOut];
}

/** Positions in the output of a tool mean nothing to a reader, so an object is where it is written in the sources. */
function addRendered(set: Growing, { kind, path, text, sources }: RenderedText, substitution: Substitution): void {
  const final = substitution(text);
  for (const document of readDocuments(final).documents) {
    const template = kind === "chart" ? templateOf(final, document.offset, path) : undefined;
    const reader = new DocumentReader(template ?? path, () => ({ line: 1, column: 1 }));
    reader.add(document);
    for (const manifest of reader.manifests) set.manifests.push({ ...manifest, locate: sources.locatorOf(manifest) });
    set.errors.push(...reader.errors);
  }
}

function emptyFolders(
  set: Growing,
  byFolder: ReadonlyMap<string, readonly string[]>,
  rendered: ReadonlySet<string>,
): readonly SourceError[] {
  const others = set.ignored.filter(({ reason }) => reason === unknownKinds).map(({ path }) => path);
  const speaking = new Set([...[...set.manifests, ...set.errors].map(({ file }) => file), ...others, ...rendered]);
  return [...byFolder].flatMap(([folder, added]) => {
    if (added.length === 0 || added.some((path) => speaking.has(path))) return [];
    const own = new Set(added);
    const reasons = set.ignored.filter(({ path }) => own.has(path)).map(({ path, reason }) => `${path} (${reason})`);
    const shown = reasons.slice(0, mostShown).join(", ");
    const more = reasons.length > mostShown ? ` and ${reasons.length - mostShown} more` : "";
    return [{ file: folder, message: `it contains no object to check; left out: ${shown}${more}` }];
  });
}
const mostShown = 5;

async function read(file: ManifestFile, input: Readable | undefined): Promise<Reading> {
  if (file.path !== standardInput) return readFileText(file.path);
  if (input === undefined) return { problem: "standard input is not available: pipe manifests into it" };
  return readStreamText(input);
}

interface Growing {
  readonly manifests: Manifest[];
  readonly errors: SourceError[];
  readonly ignored: LeftOut[];
}

interface Parsing {
  readonly slices: Slices;
  readonly memory: DocumentMemory | undefined;
}

async function addFile(set: Growing, file: ManifestFile, text: string, parsing: Parsing): Promise<void> {
  if (file.named || isBlank(text) || mayMatter(text)) await parseFile(set, file, text, parsing);
  else set.ignored.push({ path: file.path, reason: hasObject(text) ? unknownKinds : "not a Kubernetes manifest" });
}

async function parseFile(set: Growing, file: ManifestFile, text: string, { slices, memory }: Parsing): Promise<void> {
  const isWanted = file.named ? undefined : (part: string) => mayMatter(part) || !hasObject(part);
  const { documents, positionOf } = await slices.run(documentsIn(text, { isWanted, memory }));
  const reader = new DocumentReader(file.path, positionOf);
  if (
    !file.named &&
    documents.every((document) => document.problems.length === 0 && !resemblesManifest(document.value))
  ) {
    set.ignored.push({ path: file.path, reason: documents.length === 0 ? "empty" : "not a Kubernetes manifest" });
    return;
  }
  if (documents.length === 0) {
    set.errors.push({ file: file.path, message: "the file is empty; give a file with manifests" });
  }
  for (const document of documents) {
    const reason = file.named ? undefined : reasonToLeaveOut(document.value);
    if (reason === undefined) reader.add(document);
    else set.ignored.push({ path: file.path, reason });
  }
  set.manifests.push(...reader.manifests);
  set.errors.push(...reader.errors);
}

/** Why no API server stores a document that seems to be an object: strategic merge patches and conformance reports of the Gateway API. */
function reasonToLeaveOut(value: unknown): string | undefined {
  if (!isObject(value)) return undefined;
  if (Object.hasOwn(value, "$patch")) return kustomizePatch;
  const isReport =
    value["kind"] === "ConformanceReport" && String(value["apiVersion"]).startsWith("gateway.networking.k8s.io/");
  return isReport ? "report of conformance tests" : undefined;
}

/** Why a file is left out that seems to contain objects of other kinds. */
const unknownKinds = "no rule reads the kinds in it";

/**
 * Values files and workflows have neither apiVersion nor kind. A document with only one of the two is reported if an object was
 * meant. Other formats have one of them too: reports have versions, values of charts and packages of other tools have kinds.
 */
function resemblesManifest(value: unknown): boolean {
  if (!isObject(value)) return false;
  const has = (key: string) => Object.hasOwn(value, key);
  const isObjectMeant = has("metadata") || has("spec") || has("items");
  if (has("apiVersion")) return has("kind") || isObjectMeant;
  if (!has("kind") || !mayMatter(`kind: ${String(value["kind"])}`)) return false;
  return isObjectMeant || Object.keys(value).length === 1;
}
