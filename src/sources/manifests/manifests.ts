import type { Readable } from "node:stream";
import { describe, type Path } from "../../kube/read.ts";
import { type Documents, readDocuments } from "./documents.ts";
import {
  type FindOptions,
  findManifestFiles,
  kustomizePatch,
  type LeftOut,
  type ManifestFile,
  type ManifestFiles,
  standardInput,
} from "./manifest-files.ts";
import { originOf, type Renderer, templateOf } from "./render.ts";
import { type RenderedFolders, type RenderedText, renderFolders } from "./rendered-folders.ts";
import { hasObject, isBlank, mayMatter } from "./known-kinds.ts";
import type { SourceDocument } from "./source-document.ts";
import type { SourceError } from "./source-error.ts";
import { type Reading, readFileText, readStreamText } from "./source-text.ts";
import type { Substitution } from "./substitution.ts";
import { Slices } from "./slices.ts";

export type { SourceError } from "./source-error.ts";

/** A Kubernetes object as a file contains it, without interpretation. */
export interface Manifest {
  readonly raw: Record<string, unknown>;
  readonly apiVersion: string;
  readonly kind: string;
  readonly file: string;
  /** The path of the object in its document: `["items", 3]` inside a List, else empty. */
  readonly at: Path;
  /**
   * Returns the line and column, from 1, of the node at a path of `raw`: of the key for a map entry, of the first
   * character for a list item. If the node does not exist, of its nearest ancestor; behind an alias, of the alias.
   */
  locate(path: Path): { line: number; column: number };
}

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
  const rendered = renderFolders(found, options.renderer);
  const { texts, used, errors } = rendered;
  const set: Growing = { manifests: [], errors: [...found.errors, ...errors], ignored: leftOutOf(found, rendered) };
  const slices = new Slices();
  for (const file of found.files) {
    await slices.pause();
    if ((!file.named && used.has(file.real)) || isLeftOut(set, file, options)) continue;
    const reading = await read(file, options.input);
    const shown = shownFile(file, options);
    if ("problem" in reading) set.errors.push({ file: shown.path, message: reading.problem });
    else addFile(set, shown, substitution(reading.text));
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

/** Positions in the output of a tool mean nothing to a reader, so an object is at the beginning of its file. */
function addRendered(set: Growing, { kind, path, text }: RenderedText, substitution: Substitution): void {
  const final = substitution(text);
  const sourceOf = ({ offset, value }: SourceDocument): string | undefined => {
    if (kind === "chart") return templateOf(final, offset, path);
    return isObject(value) ? originOf(value, path) : undefined;
  };
  for (const document of readDocuments(final).documents) {
    const reader = new DocumentReader(sourceOf(document) ?? path, () => ({ line: 1, column: 1 }));
    reader.add(document);
    set.manifests.push(...reader.manifests);
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

function addFile(set: Growing, file: ManifestFile, text: string): void {
  if (file.named || isBlank(text) || mayMatter(text)) parseFile(set, file, text);
  else set.ignored.push({ path: file.path, reason: hasObject(text) ? unknownKinds : "not a Kubernetes manifest" });
}

function parseFile(set: Growing, file: ManifestFile, text: string): void {
  const { documents, positionOf } = readDocuments(
    text,
    file.named ? undefined : (part) => mayMatter(part) || !hasObject(part),
  );
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
    if (isPatch(document.value) && !file.named) set.ignored.push({ path: file.path, reason: kustomizePatch });
    else reader.add(document);
  }
  set.manifests.push(...reader.manifests);
  set.errors.push(...reader.errors);
}

/** Whether a document says that it is a strategic merge patch: no API server stores such an object. */
const isPatch = (value: unknown): boolean => isObject(value) && Object.hasOwn(value, "$patch");

/** Why a file is left out that seems to contain objects of other kinds. */
const unknownKinds = "no rule reads the kinds in it";

/** Values files and workflows have neither apiVersion nor kind; a document with only one of the two is reported. */
function resemblesManifest(value: unknown): boolean {
  return isObject(value) && (Object.hasOwn(value, "apiVersion") || Object.hasOwn(value, "kind"));
}

class DocumentReader {
  readonly manifests: Manifest[] = [];
  readonly errors: SourceError[] = [];
  readonly #file: string;
  readonly #positionOf: Documents["positionOf"];

  constructor(file: string, positionOf: Documents["positionOf"]) {
    this.#file = file;
    this.#positionOf = positionOf;
  }

  add(document: SourceDocument): void {
    for (const problem of document.problems) this.#fail(problem.offset, problem.message);
    if (document.problems.length === 0) this.#addObject(document, document.value, []);
  }

  #addObject(document: SourceDocument, value: unknown, at: Path): void {
    if (!isObject(value)) {
      this.#fail(
        document.offsetOf(at),
        `not a Kubernetes object: expected a map with apiVersion and kind, found ${describe(value)}`,
      );
      return;
    }
    const { apiVersion, kind } = value;
    if (!isName(apiVersion)) this.#lacks(document, "apiVersion", value, at);
    else if (!isName(kind)) this.#lacks(document, "kind", value, at);
    else if (kind.endsWith("List") && Array.isArray(value["items"])) this.#addItems(document, value, at);
    else if (kind === "List") this.#addEmptyList(document, value, at);
    else this.#addManifest(document, value, at);
  }

  #addItems(document: SourceDocument, list: Record<string, unknown>, at: Path): void {
    for (const [index, item] of (list["items"] as unknown[]).entries()) {
      this.#addObject(document, itemOf(list, item), [...at, "items", index]);
    }
  }

  #addEmptyList(document: SourceDocument, list: Record<string, unknown>, at: Path): void {
    const items = list["items"] ?? null;
    if (items === null) return;
    this.#fail(document.offsetOf([...at, "items"]), `the items of a List must be a list, found ${describe(items)}`);
  }

  #addManifest(document: SourceDocument, raw: Record<string, unknown>, at: Path): void {
    this.manifests.push({
      raw,
      apiVersion: String(raw["apiVersion"]),
      kind: String(raw["kind"]),
      file: this.#file,
      at,
      locate: (path) => this.#positionOf(document.offsetOf([...at, ...path])),
    });
  }

  #lacks(document: SourceDocument, key: "apiVersion" | "kind", value: Record<string, unknown>, at: Path): void {
    const example = key === "kind" ? "kind: VirtualService" : "apiVersion: networking.istio.io/v1";
    const found = Object.hasOwn(value, key) ? `${key} is ${describe(value[key])}, not a name` : `it has no ${key}`;
    const keys = Object.keys(value).slice(0, 3).join(", ").slice(0, 60).replaceAll(/\s+/g, " ");
    const seen = Object.hasOwn(value, key) || keys === "" ? "" : ` (its keys: ${keys})`;
    this.#fail(
      document.offsetOf([...at, key]),
      `not a Kubernetes manifest: ${found}${seen}; add one such as "${example}"`,
    );
  }

  #fail(offset: number, message: string): void {
    this.errors.push({ file: this.#file, ...this.#positionOf(offset), message });
  }
}

/**
 * The API server omits apiVersion and kind in the items of a typed list; `UnstructuredList` of apimachinery adds
 * them.
 */
function itemOf(list: Record<string, unknown>, item: unknown): unknown {
  const itemKind = String(list["kind"]).slice(0, -"List".length);
  if (!isObject(item) || itemKind === "" || item["kind"] !== undefined || item["apiVersion"] !== undefined) return item;
  return { apiVersion: list["apiVersion"], kind: itemKind, ...item };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
