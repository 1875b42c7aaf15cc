import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { isObject, type Path } from "../../kube/read.ts";
import { DocumentReader, type Manifest, type Spot } from "./document-objects.ts";
import { readDocuments } from "./documents.ts";
import { globs } from "../../text/globs.ts";
import type { KustomizationSource, PatchSource, Target } from "./kustomization-sources.ts";
import { fieldOf } from "./kustomizations.ts";

/** Where the nodes of rendered objects are written. */
export interface RenderedSources {
  /** The `locate` of an object of the output. What it needs is read now, because the files may be gone when it is called. */
  locatorOf(rendered: Manifest): Manifest["locate"];
}

const start: Spot = { line: 1, column: 1 };

/** The objects of a chart are in the templates that helm names; a line is known where a template has only one for it. */
export const chartSources: RenderedSources = {
  locatorOf({ file, kind, raw }) {
    const text = textOf(file);
    const name = String(fieldOf(raw["metadata"], "name"));
    return (path) => (text === undefined ? start : spotInTemplate(text, { kind, name }, path));
  },
};

const textOf = (file: string): string | undefined => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
};

/** The line of the last key of the path that the document of the object has once; else the line of its kind. */
function spotInTemplate(
  text: string,
  { kind, name }: { readonly kind: string; readonly name: string },
  path: Path,
): Spot {
  const lines = text.split("\n");
  const separators = lines.flatMap((line, i) => (line.startsWith("---") ? [i] : []));
  const parts = [-1, ...separators].map((before, i) => [before + 1, separators[i] ?? lines.length] as const);
  const withKey = ([from, to]: readonly [number, number], key: string, value = ""): readonly number[] =>
    lines.flatMap((line, i) => (i >= from && i < to && hasKey(line, key, value) ? [i] : []));
  const ofKind = parts.filter((part) => withKey(part, "kind", kind).length > 0);
  const named = ofKind.filter((part) => withKey(part, "name", name).length > 0);
  const [part, ...others] = named.length === 1 ? named : ofKind;
  if (part === undefined || others.length > 0) return start;
  const keys = ["kind", ...path.filter((step) => typeof step === "string")];
  const line = keys.map((key) => withKey(part, key)).findLast((found) => found.length === 1)?.[0] ?? part[0];
  return { line: line + 1, column: (lines[line] ?? "").search(/[^\s-]/) + 1 };
}

function hasKey(line: string, key: string, value: string): boolean {
  const [, before = "", after = ""] = /^[\s-]*["']?([^\s"':{]+)["']?\s*:(.*)$/.exec(line) ?? [];
  return before === key && (value === "" || after.replace(/\s#.*/, "").replaceAll(/["'\s]/g, "") === value);
}

/**
 * The objects of a kustomization are in its resources, and what patches set is in the patches. An object that none of them
 * contains, such as that of a generator, is at the beginning of the kustomization.
 */
export function kustomizationSources(sources: KustomizationSource): RenderedSources {
  let read: ReturnType<typeof readSources> | undefined;
  return {
    locatorOf: (rendered) => (path) => {
      read ??= readSources(sources);
      const names = namesBefore(rendered, sources);
      const patched = path.length === 0 ? undefined : spotInPatches(rendered, path, { names, patches: read.patches });
      return patched ?? spotInResources(rendered, path, { names, resources: read.resources }) ?? start;
    },
  };
}

interface ReadPatch extends PatchSource {
  readonly objects: readonly Manifest[];
  /** Operations of JSON patches (RFC 6902), with their places. */
  readonly operations: readonly { readonly path: Path; readonly spot: Spot }[];
}

function readSources({ resources, patches }: KustomizationSource) {
  return {
    resources: resources.flatMap(({ file, text }) => objectsIn(file, text)),
    patches: patches.map((patch): ReadPatch => {
      const shift = ({ line, column }: Spot): Spot => ({ line: line + patch.line, column: column + patch.column });
      const objects = objectsIn(patch.file, patch.text).map((object) => ({
        ...object,
        locate: (path: Path) => shift(object.locate(path)),
      }));
      return { ...patch, objects, operations: operationsIn(patch.text, shift) };
    }),
  };
}

function objectsIn(file: string, text: string): readonly Manifest[] {
  const { documents, positionOf } = readDocuments(text);
  const reader = new DocumentReader(file, positionOf);
  for (const document of documents) reader.add(document);
  return reader.manifests;
}

function operationsIn(text: string, shift: (spot: Spot) => Spot): ReadPatch["operations"] {
  const { documents, positionOf } = readDocuments(text);
  return documents.flatMap(({ value, offsetOf }) =>
    (Array.isArray(value) ? value : []).flatMap((operation: unknown, i) => {
      const pointer = fieldOf(operation, "path");
      if (typeof pointer !== "string") return [];
      const path = pointer.split("/").slice(1).map(unescaped);
      return [{ path, spot: shift(positionOf(offsetOf([i, "path"]))) }];
    }),
  );
}

/** A step of a JSON pointer. */
const unescaped = (step: string): string | number =>
  /^\d+$/.test(step) ? Number(step) : step.replaceAll("~1", "/").replaceAll("~0", "~");

/** The names that an object may have had before the prefixes and suffixes of the kustomizations were added. */
function namesBefore({ raw }: Manifest, { prefixes, suffixes }: KustomizationSource): ReadonlySet<string> {
  const names = new Set([String(fieldOf(raw["metadata"], "name"))]);
  for (const name of names) {
    for (const prefix of prefixes) if (name.startsWith(prefix)) names.add(name.slice(prefix.length));
    for (const suffix of suffixes) if (name.endsWith(suffix)) names.add(name.slice(0, -suffix.length));
  }
  return names;
}

const groupOf = ({ apiVersion }: Manifest): string => apiVersion.split("/").slice(0, -1).join("/");
const isLike = (source: Manifest, rendered: Manifest, names: ReadonlySet<string>): boolean =>
  source.kind === rendered.kind &&
  groupOf(source) === groupOf(rendered) &&
  names.has(String(fieldOf(source.raw["metadata"], "name")));

/** The place of what a patch sets at a path, above it or below it; the patches of the outer kustomizations are applied last. */
function spotInPatches(
  rendered: Manifest,
  path: Path,
  { names, patches }: { readonly names: ReadonlySet<string>; readonly patches: readonly ReadPatch[] },
): Spot | undefined {
  for (const { file, target, objects, operations } of patches) {
    const isTarget = target !== undefined && selects(target, rendered, names);
    const object = objects.find((one) => (target === undefined ? isLike(one, rendered, names) : isTarget));
    if (object !== undefined && setsSame(object.raw, rendered.raw, path)) return { file, ...object.locate(path) };
    const operation = operations.findLast((one) => isTarget && isOnWay(one.path, path));
    if (operation !== undefined) return { file, ...operation.spot };
  }
  return undefined;
}

/** Whether a patch has something of its own at the path, and the object got it from there. */
function setsSame(patch: unknown, rendered: unknown, path: Path): boolean {
  let [set, found] = [patch, rendered];
  for (const step of path) {
    if (!isStep(set, step) || !isStep(found, step)) return false;
    [set, found] = [Reflect.get(set, step), Reflect.get(found, step)];
  }
  return isDeepStrictEqual(set, found);
}

const isStep = (value: unknown, step: string | number): value is object =>
  (isObject(value) || Array.isArray(value)) && Object.hasOwn(value, step);

/** Whether one of two paths leads to the other. */
const isOnWay = (some: Path, other: Path): boolean =>
  some.length > 0 && some.every((step, i) => i >= other.length || step === other[i] || step === "-");

/**
 * As kustomize selects the targets of a patch (api/resmap/selector.go): with regular expressions that match the whole text, of which
 * only names and `.*` are understood here, because V8's engine may take forever for others.
 */
function selects({ kind, name, namespace }: Target, rendered: Manifest, names: ReadonlySet<string>): boolean {
  const own = fieldOf(rendered.raw["metadata"], "namespace");
  const namespaces = typeof own === "string" ? [own, ""] : [""];
  return isMatch(kind, [rendered.kind]) && isMatch(name, [...names]) && isMatch(namespace, namespaces);
}

function isMatch(pattern: string | undefined, texts: readonly string[]): boolean {
  if (pattern === undefined || pattern === "") return true;
  const alternatives = pattern.split("|").map((one) => one.replaceAll(".*", "*"));
  const { matches } = globs(alternatives.filter((one) => /^[\w.*-]*$/.test(one)));
  return texts.some(matches);
}

/** Undefined: no resource is this object, or several may be. */
function spotInResources(
  rendered: Manifest,
  path: Path,
  { names, resources }: { readonly names: ReadonlySet<string>; readonly resources: readonly Manifest[] },
): Spot | undefined {
  const like = resources.filter((one) => isLike(one, rendered, names));
  const namespace = fieldOf(rendered.raw["metadata"], "namespace");
  const same = like.filter(({ raw }) => fieldOf(raw["metadata"], "namespace") === namespace);
  const [source, ...others] = same.length > 0 ? same : like;
  if (source === undefined || others.length > 0) return undefined;
  return { file: source.file, ...source.locate(path) };
}
