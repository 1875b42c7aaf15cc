import type { Path } from "../../kube/read.ts";

/** What is wrong with a document, and at which offset of the file's text (UTF-16 code units). */
export interface SourceProblem {
  readonly offset: number;
  readonly message: string;
}

/** One document of a file: its value as kubectl would read it, or the problems that keep it from having one. */
export interface SourceDocument {
  /** Where its content starts. */
  readonly offset: number;
  readonly value: unknown;
  /** When there are any, `value` is undefined. */
  readonly problems: readonly SourceProblem[];
  /** The offset of the node at that path: a map entry's key, a list item's first character; the nearest ancestor that exists when there is no such node. */
  offsetOf(path: Path): number;
}

/** Thrown inside the readers where reading a document cannot go on; never leaves them. */
export class DocumentProblem extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** No real manifest is deeper than a few dozen levels; what reads objects later may recurse into them. */
export const maxDepth = 500;

/** More of the same in one document says nothing new. */
export const maxProblems = 20;

export const tooDeep = `nested more than ${maxDepth} levels deep: no Kubernetes object is; flatten it`;

/** Offsets of the entries of every map and list of one value; filled only when somebody asks for a position. */
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

/** Sets an own property whatever its name: a key `__proto__` is data like any other and reaches no prototype. */
export function setOwn(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[key] = value;
  }
}

export function duplicateKey(key: string, line: number): string {
  return `the key ${quote(key)} is here twice (first in line ${line}): only one of them would count; remove the other`;
}

/** Text of a file as part of a message: one line, not too long. */
export function quote(text: string): string {
  const shown = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return JSON.stringify(shown);
}
