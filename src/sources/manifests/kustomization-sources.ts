import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import type { Path } from "../../kube/read.ts";
import { readDocuments } from "./documents.ts";
import { fieldOf, kustomizationFileIn, listAt, type Reached } from "./kustomizations.ts";
import type { RenderedFolder } from "./manifest-files.ts";

/** What the objects of a kustomization are made of, as text. */
export interface KustomizationSource {
  readonly resources: readonly SourceText[];
  /** In the reverse of the order in which they are applied. */
  readonly patches: readonly PatchSource[];
  readonly prefixes: readonly string[];
  readonly suffixes: readonly string[];
}

export interface SourceText {
  /** The path as reports show it. */
  readonly file: string;
  readonly text: string;
}

export interface PatchSource extends SourceText {
  /** Undefined: the patch names its object itself. */
  readonly target: Target | undefined;
  /** What is added to lines and columns of the text: it is a part of the file. */
  readonly line: number;
  readonly column: number;
}

/** The selector of a patch, with its regular expressions. */
export interface Target {
  readonly kind?: string;
  readonly name?: string;
  readonly namespace?: string;
}

/** Reads the files of a kustomization and of its bases. What cannot be read is left out. */
export function kustomizationSource(
  { path, folder }: RenderedFolder,
  { files, folders }: Reached,
): KustomizationSource {
  const shown = (real: string): string => join(dirname(path), relative(folder, real));
  const read = (real: string): readonly SourceText[] => {
    const text = textOf(real);
    return text === undefined ? [] : [{ file: shown(real), text }];
  };
  const patches: PatchSource[] = [];
  const [prefixes, suffixes] = [new Set<string>(), new Set<string>()];
  for (const one of [folder, ...folders]) {
    const found = kustomizationFileIn(one);
    if (found === undefined) continue;
    const kustomization = new Kustomization(found.path, found.text);
    for (const prefix of kustomization.texts("namePrefix")) prefixes.add(prefix);
    for (const suffix of kustomization.texts("nameSuffix")) suffixes.add(suffix);
    patches.push(
      ...kustomization.patches().flatMap((patch) => {
        const text = patch.text ?? textOf(patch.file);
        return text === undefined ? [] : [{ ...patch, text, file: shown(patch.file) }];
      }),
    );
  }
  return { resources: [...files].flatMap(read), patches, prefixes: [...prefixes], suffixes: [...suffixes] };
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

type Patch = Omit<PatchSource, "text"> & { readonly text: string | undefined };

class Kustomization {
  readonly #file: string;
  readonly #text: string;
  readonly #value: unknown;
  readonly #offsetOf: (path: Path) => number;
  readonly #positionOf: ReturnType<typeof readDocuments>["positionOf"];

  constructor(file: string, text: string) {
    const { documents, positionOf } = readDocuments(text);
    this.#file = file;
    this.#text = text;
    this.#value = documents[0]?.value;
    this.#offsetOf = (path) => documents[0]?.offsetOf(path) ?? 0;
    this.#positionOf = positionOf;
  }

  texts(field: string): readonly string[] {
    const value = fieldOf(this.#value, field);
    return typeof value === "string" && value !== "" ? [value] : [];
  }

  /** Files and texts, the last one first. */
  patches(): readonly Patch[] {
    const strategic = listAt(this.#value, "patchesStrategicMerge").map((one, i) =>
      this.#patch(String(one).includes("\n") ? { patch: one } : { path: one }, ["patchesStrategicMerge", i]),
    );
    const others = ["patchesJson6902", "patches"].flatMap((field) =>
      listAt(this.#value, field).map((one, i) => this.#patch(one, [field, i])),
    );
    return [...strategic, ...others].flat().reverse();
  }

  #patch(entry: unknown, at: Path): readonly Patch[] {
    const [text, path] = [fieldOf(entry, "patch"), fieldOf(entry, "path")];
    const target = fieldOf(entry, "target") as Target | undefined;
    if (typeof text === "string") return [{ file: this.#file, text, target, ...this.#shiftOf([...at, "patch"]) }];
    if (typeof path !== "string" || path === "") return [];
    return [{ file: resolve(dirname(this.#file), path), text: undefined, target, line: 0, column: 0 }];
  }

  /** A block scalar begins in the next line; another one is taken as one line. */
  #shiftOf(at: Path): { readonly line: number; readonly column: number } {
    const { line } = this.#positionOf(this.#offsetOf(at));
    const lines = this.#text.split("\n");
    const isBlock = /[|>][-+\d]*\s*(?:#.*)?$/.test(lines[line - 1] ?? "");
    return isBlock ? { line, column: Math.max((lines[line] ?? "").search(/\S/), 0) } : { line: line - 1, column: 0 };
  }
}
