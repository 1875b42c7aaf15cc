import type { Path } from "../../kube/read.ts";
import type { LineNumbers } from "./line-numbers.ts";
import {
  DocumentProblem,
  duplicateKey,
  maxDepth,
  maxProblems,
  Positions,
  quote,
  type SourceDocument,
  type SourceProblem,
  setOwn,
  tooDeep,
} from "./source-document.ts";

/** The JSON values of a file, one after the other. `syntax` is set if the text stops being JSON. */
export interface JsonReading {
  readonly documents: readonly SourceDocument[];
  readonly syntax?: SourceProblem;
}

/** Reads JSON without JSON.parse, because duplicate keys and positions are needed. Never throws. */
export function readJsonDocuments(text: string, lines: () => LineNumbers): JsonReading {
  const documents: SourceDocument[] = [];
  const scanner = new JsonScanner(text, 0);
  try {
    for (let offset = scanner.next(); offset < text.length; offset = scanner.next()) {
      const value = scanner.value(0);
      const problems = problemsOf(scanner, lines);
      if (problems.length > 0) documents.push({ offset, value: undefined, problems, offsetOf: () => offset });
      else if (value !== null) documents.push({ offset, value, problems, offsetOf: locator(text, offset) });
    }
    return { documents };
  } catch (error) {
    if (!(error instanceof DocumentProblem)) throw error;
    return { documents, syntax: { offset: error.offset, message: error.message } };
  }
}

/** The problems that the scanner found in the latest value. */
function problemsOf(scanner: JsonScanner, lines: () => LineNumbers): SourceProblem[] {
  const duplicates = scanner.duplicates.splice(0).map(({ key, offset, first }) => ({
    offset,
    message: duplicateKey(key, lines().at(first).line),
  }));
  return [...duplicates, ...scanner.outOfRange.splice(0)].slice(0, maxProblems);
}

function locator(text: string, start: number): (path: Path) => number {
  let located: { value: unknown; positions: Positions } | undefined;
  return (path) => {
    if (path.length === 0) return start;
    if (located === undefined) {
      const positions = new Positions();
      located = { value: new JsonScanner(text, start, positions).value(0), positions };
    }
    return located.positions.offsetOf(located.value, start, path);
  };
}

interface Duplicate {
  readonly key: string;
  readonly offset: number;
  readonly first: number;
}

const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const literals: readonly (readonly [string, boolean | null])[] = [
  ["true", true],
  ["false", false],
  ["null", null],
];

/** Throws DocumentProblem. */
class JsonScanner {
  readonly duplicates: Duplicate[] = [];
  readonly outOfRange: SourceProblem[] = [];
  readonly #text: string;
  readonly #positions: Positions | undefined;
  #at: number;

  constructor(text: string, at: number, positions?: Positions) {
    this.#text = text;
    this.#at = at;
    this.#positions = positions;
  }

  /** The offset of the next character that is not white space. */
  next(): number {
    for (; ; this.#at++) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return this.#at;
    }
  }

  value(depth: number): unknown {
    if (depth > maxDepth) throw new DocumentProblem(this.#at, tooDeep);
    switch (this.#text[this.next()]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#list(depth);
      case '"':
        return this.#string();
      default:
        return this.#scalar();
    }
  }

  #object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    const seen = new Map<string, number>();
    this.#at++;
    if (this.#take("}")) return object;
    do {
      const offset = this.next();
      if (this.#text[offset] !== '"') throw this.#unexpected("a key in double quotes");
      const key = this.#string();
      if (!this.#take(":")) throw this.#unexpected("a colon");
      const first = seen.get(key);
      if (first === undefined) seen.set(key, offset);
      else this.duplicates.push({ key, offset, first });
      this.#positions?.add(object, key, offset);
      setOwn(object, key, this.value(depth + 1));
    } while (this.#take(","));
    if (!this.#take("}")) throw this.#unexpected("a comma or }");
    return object;
  }

  #list(depth: number): unknown[] {
    const list: unknown[] = [];
    this.#at++;
    if (this.#take("]")) return list;
    do {
      this.#positions?.add(list, list.length, this.next());
      list.push(this.value(depth + 1));
    } while (this.#take(","));
    if (!this.#take("]")) throw this.#unexpected("a comma or ]");
    return list;
  }

  #string(): string {
    const start = this.#at;
    let end = start + 1;
    for (let code = this.#text.charCodeAt(end); code !== 0x22; code = this.#text.charCodeAt(end)) {
      if (Number.isNaN(code))
        throw new DocumentProblem(start, "not valid JSON: a string has no end; add the closing quote");
      end += code === 0x5c ? 2 : 1;
    }
    this.#at = end + 1;
    try {
      return JSON.parse(this.#text.slice(start, this.#at)) as string;
    } catch {
      throw new DocumentProblem(
        start,
        "not valid JSON: a string contains a line break, a control character or an unknown escape; escape it",
      );
    }
  }

  #scalar(): unknown {
    for (const [word, value] of literals) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    number.lastIndex = this.#at;
    const digits = number.exec(this.#text)?.[0];
    if (digits === undefined) throw this.#unexpected("a value");
    const value = Number(digits);
    if (!Number.isFinite(value)) {
      this.outOfRange.push({
        offset: this.#at,
        message: `${quote(digits)} is a number that Kubernetes cannot store: quote it`,
      });
    }
    this.#at += digits.length;
    return value;
  }

  #take(character: string): boolean {
    if (this.#text[this.next()] !== character) return false;
    this.#at++;
    return true;
  }

  #unexpected(wanted: string): DocumentProblem {
    const found = this.#text.codePointAt(this.#at);
    const shown = found === undefined ? "the end of the file" : quote(String.fromCodePoint(found));
    return new DocumentProblem(this.#at, `not valid JSON: expected ${wanted}, found ${shown}; correct it`);
  }
}
