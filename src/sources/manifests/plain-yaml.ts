import { resolvePlain, type ScalarValue } from "../../kube/plain-scalars.ts";
import { setOwn } from "./source-document.ts";

/**
 * The value of a document that is written as most manifests are: maps in block style whose values are further maps, lists with
 * `- `, and scalars, `[a, b]` or `{ a: b }` within one line. Undefined if there is anything else in the text, even a mistake: then the library has
 * to read it. What this returns is what the library and {@link YamlValues} say, in a tenth of their time; a test compares them on
 * random documents.
 */
export function plainValue(text: string): Record<string, unknown> | undefined {
  return unusual.test(text) ? undefined : new PlainReader(text).value();
}

/** Tabs, carriage returns, line separators, control characters, and what is outside of the basic plane. */
const unusual = /[^\n\x20-\x7e\u00a1-\u2027\u2030-\ud7ff]/;

const quoted = String.raw`"[^"\\\n]*"|'[^'\n]*'`;
const key = String.raw`[A-Za-z_][-\w./]{0,200}|"[^"\\\n]{0,200}"|'[^'\n]{0,200}'`;
/** In brackets from the first to the last one of a line; {@link FlowReader} reads what is in them. */
const flow = String.raw`[[{](?:[^\n"'#]|${quoted})*[\]}]`;
/** It begins with no indicator of YAML, does not end in spaces, and contains nothing that would end it within the line. */
const plain = String.raw`(?:[\w./~$(+^<]|--?[\w.])(?:[^\n:# ]|:(?=[^ \n])|#| +(?=[^ #\n]))*`;
/**
 * One line: its indentation, the mark of an item, a key, a value and a comment, each of which may be missing. Where spaces may stand,
 * `(?! )` lets them be taken in one way only, because a line of spaces is tried in as many ways as there are.
 */
const line = new RegExp(
  String.raw`( *)(?! )(- +(?! ))?(?:(${key}):(?=[ \n]|$) *(?! ))?(${quoted}|${flow}|${plain})? *(?:(?<![^ \n])#[^\n]*)?(?:\n|$)`,
  "y",
);
/** Far less than the library allows. */
const mostDeep = 100;

/** Reads line by line. What it does not know ends the reading: nothing is left to read then, and there is no value. */
class PlainReader {
  readonly #text: string;
  #at = 0;
  #isKnown = true;
  // The line that is read next: -1 is the indentation of what follows the last one.
  #indent = -1;
  #mark = "";
  #key: string | undefined;
  #scalar: string | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  value(): Record<string, unknown> | undefined {
    this.#next();
    const value = this.#indent === 0 ? this.#map(0, 0) : this.#unknown({});
    if (this.#indent !== -1) this.#unknown(undefined);
    return this.#isKnown ? value : undefined;
  }

  /** Goes to the next line that is neither empty nor a comment. */
  #next(): void {
    while (this.#at < this.#text.length) {
      line.lastIndex = this.#at;
      const found = line.exec(this.#text);
      if (found === null) return this.#unknown(undefined);
      this.#at = line.lastIndex;
      const [, indent = "", mark = "", key, scalar] = found;
      if (mark === "" && key === undefined && scalar === undefined) continue;
      [this.#indent, this.#mark, this.#key, this.#scalar] = [indent.length, mark, key, scalar];
      return;
    }
    this.#indent = -1;
  }

  #unknown<T>(value: T): T {
    this.#isKnown = false;
    this.#indent = -1;
    this.#at = this.#text.length;
    return value;
  }

  /** The map whose keys have this indentation, from the current line on. */
  #map(indent: number, depth: number): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    while (this.#indent === indent && this.#mark === "") {
      const key = this.#key === undefined ? undefined : this.#scalarOf(this.#key);
      // The library says where a key stood first.
      if (typeof key !== "string" || Object.hasOwn(map, key)) return this.#unknown(map);
      setOwn(map, key, this.#scalar === undefined ? this.#below(indent, depth + 1) : this.#taken(this.#scalar));
    }
    // Neither something deeper nor an item can follow a value here.
    return this.#indent < indent ? map : this.#unknown(map);
  }

  /** What stands below a key that has no value in its line. */
  #below(indent: number, depth: number): unknown {
    this.#next();
    if (depth > mostDeep) return this.#unknown(null);
    const isItem = this.#mark !== "";
    if (this.#indent > indent) return isItem ? this.#list(this.#indent, depth) : this.#map(this.#indent, depth);
    return this.#indent === indent && isItem ? this.#list(indent, depth) : null;
  }

  #list(indent: number, depth: number): unknown[] {
    const items: unknown[] = [];
    while (this.#indent === indent && this.#mark !== "") {
      if (this.#key !== undefined) items.push(this.#mapOfItem(indent + this.#mark.length, depth + 1));
      else if (this.#scalar !== undefined) items.push(this.#taken(this.#scalar));
      else return this.#unknown(items);
    }
    return this.#indent > indent ? this.#unknown(items) : items;
  }

  /** The first key of the map stands in the line of the item. */
  #mapOfItem(indent: number, depth: number): Record<string, unknown> {
    [this.#indent, this.#mark] = [indent, ""];
    return this.#map(indent, depth);
  }

  #taken(scalar: string): unknown {
    const value = this.#valueOf(scalar);
    this.#next();
    return value;
  }

  #valueOf(scalar: string): unknown {
    const first = scalar[0];
    if (first !== "[" && first !== "{") return this.#scalarOf(scalar);
    const value = new FlowReader(scalar).value();
    return value === unreadable ? this.#unknown(null) : value;
  }

  #scalarOf(text: string): ScalarValue {
    const value = scalarOf(text);
    return value === unreadable ? this.#unknown(null) : value;
  }
}

/** Kubernetes cannot store a number that is not finite, which the slow way says. */
function scalarOf(text: string): ScalarValue | typeof unreadable {
  if (text.startsWith('"') || text.startsWith("'")) return text.slice(1, -1);
  const value = resolvePlain(text);
  return typeof value === "number" && !Number.isFinite(value) ? unreadable : value;
}

const unreadable = Symbol("left to the library");
/** Of a list or a map in brackets: a key, or a value, with what has to follow it. */
const flowKey = new RegExp(String.raw` *(${key}): +`, "y");
const flowScalar = new RegExp(String.raw` *(${quoted}|[A-Za-z0-9_/][-\w./@=+]*) *(?=[,\]}])`, "y");
const flowMark = / *([[\]{},]) */y;
/** Deeper than anyone writes in one line. */
const mostDeepInLine = 20;

/** Reads lists and maps in brackets that stand in one line. What it does not know makes the whole unreadable. */
class FlowReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): unknown {
    const value = this.#value(0);
    return this.#at === this.#text.length ? value : unreadable;
  }

  /** The part of the text that is next, if it is one of these, which are taken. */
  #take(parts: RegExp): string | undefined {
    parts.lastIndex = this.#at;
    const found = parts.exec(this.#text);
    if (found !== null) this.#at = parts.lastIndex;
    return found?.[1];
  }

  #value(depth: number): unknown {
    const scalar = this.#take(flowScalar);
    if (scalar !== undefined) return scalarOf(scalar);
    const mark = depth < mostDeepInLine ? this.#take(flowMark) : undefined;
    if (mark === "[") return this.#list(depth);
    return mark === "{" ? this.#map(depth) : unreadable;
  }

  #list(depth: number): unknown {
    const items: unknown[] = [];
    if (this.#isNext("]")) return this.#take(flowMark) && items;
    for (;;) {
      const item = this.#value(depth + 1);
      if (item === unreadable) return unreadable;
      items.push(item);
      const mark = this.#take(flowMark);
      if (mark !== ",") return mark === "]" ? items : unreadable;
    }
  }

  #map(depth: number): unknown {
    const map: Record<string, unknown> = {};
    if (this.#isNext("}")) return this.#take(flowMark) && map;
    for (;;) {
      const text = this.#take(flowKey);
      const key = text === undefined ? undefined : scalarOf(text);
      if (typeof key !== "string" || Object.hasOwn(map, key)) return unreadable;
      const value = this.#value(depth + 1);
      if (value === unreadable) return unreadable;
      setOwn(map, key, value);
      const mark = this.#take(flowMark);
      if (mark !== ",") return mark === "}" ? map : unreadable;
    }
  }

  /** The mark before has taken the spaces behind it. */
  #isNext(mark: string): boolean {
    return this.#text[this.#at] === mark;
  }
}
