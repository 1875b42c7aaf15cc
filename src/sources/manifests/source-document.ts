import type { Path } from "../../kube/read.ts";

/** An error in a document, and its offset in the file's text (UTF-16 code units). */
export interface SourceProblem {
  readonly offset: number;
  readonly message: string;
}

/** One document of a file: its value as kubectl would read it, or the problems that prevent reading it. */
export interface SourceDocument {
  /** The offset at which its content starts. */
  readonly offset: number;
  readonly value: unknown;
  /** If there are any, `value` is undefined. */
  readonly problems: readonly SourceProblem[];
  /**
   * Returns the offset of the node at a path: the key of a map entry, the first character of a list item. If the node
   * does not exist, the offset of its nearest ancestor.
   */
  offsetOf(path: Path): number;
}

/** Thrown and caught inside the readers when a document cannot be read further. */
export class DocumentProblem extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** Real manifests are a few dozen levels deep at most. The limit protects code that recurses into objects. */
export const maxDepth = 500;

/** The most problems that are reported for one document. */
export const maxProblems = 20;

export const tooDeep = `nested more than ${maxDepth} levels deep, which no Kubernetes object is; flatten it`;

/** Offsets of the entries of every map and list of one value; computed when a position is first needed. */
export class Positions {
  readonly #entries = new Map<object, Map<string | number, number>>();

  add(container: object, key: string | number, offset: number): void {
    const entries = this.#entries.get(container);
    if (entries === undefined) this.#entries.set(container, new Map([[key, offset]]));
    else entries.set(key, offset);
  }

  /** Follows the path from `value` as far as it exists; `start` is the offset of the value itself. */
  offsetOf(value: unknown, start: number, path: Path): number {
    let offset = start;
    let current = value;
    for (const step of path) {
      if (typeof current !== "object" || current === null) break;
      const next = this.#entries.get(current)?.get(step);
      if (next === undefined) break;
      offset = next;
      current = Reflect.get(current, step);
    }
    return offset;
  }
}

/** Sets an own property of any name, so that the key `__proto__` is data and does not change the prototype. */
export function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[key] = value;
  }
}

export function duplicateKey(key: string, line: number): string {
  return `duplicate key ${quote(key)} (first in line ${line}); remove one of the two`;
}

/** Text of a file for a message: one line of limited length. */
export function quote(text: string): string {
  const shown = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return JSON.stringify(shown);
}
