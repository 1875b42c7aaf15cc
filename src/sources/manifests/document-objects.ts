import { describe, isObject, type Path } from "../../kube/read.ts";
import type { Documents } from "./documents.ts";
import type { SourceDocument } from "./source-document.ts";
import type { SourceError } from "./source-error.ts";

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
  locate(path: Path): Spot;
}

export interface Spot {
  readonly line: number;
  readonly column: number;
  /** The file in which a node of a rendered object is written, if that is not the `file` of the object. */
  readonly file?: string;
}

/** Finds the Kubernetes objects in the documents of one file, also those in Lists. */
export class DocumentReader {
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

function isName(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
