import { RE2JS } from "@bufbuild/re2";
import {
  celError,
  type CelFunc,
  celFunc,
  type CelInput,
  type CelList,
  celList,
  celListConcat,
  celMethod,
  CelScalar,
  type CelValue,
  listType,
} from "@bufbuild/cel";
import { strings } from "@bufbuild/cel/ext";
import { spend } from "./cost.ts";
import { sizeOf } from "./values.ts";

// Functions of CEL whose cost depends on their arguments, with that cost counted, and with the errors that Go's CEL has where
// the library has none. A function of the same signature replaces the one of the library.

const { STRING, BOOL, INT, DOUBLE, DYN } = CelScalar;
const list = listType(DYN);

/** The longest text that a function may create. */
const longestText = 4_000_000;

/** Searching a text takes as many steps as both texts are long in the worst case. */
const spendSearch = (text: string, part: string): void => spend(1 + (text.length * (1 + part.length)) / 1000);

function spendText(...lengths: readonly number[]): void {
  const length = lengths.reduce((sum, one) => sum + one, 0);
  spend(1 + length / 100);
  if (length > longestText) throw new Error(`a text of more than ${longestText} characters`);
}

/** The same function, which spends its cost when it was called. What it throws then ends the evaluation. */
function charged(func: CelFunc, cost: (values: readonly unknown[]) => number = sizeOfAll): CelFunc {
  const call = (id: number, target: CelValue | undefined, args: CelValue[]) => {
    const found = func.call(id, target, args);
    if (found !== undefined) spend(cost([target, ...args]));
    return found;
  };
  return Object.create(func, { call: { value: call } }) as CelFunc;
}

const sizeOfAll = (values: readonly unknown[]): number => values.reduce((sum: number, one) => sum + sizeOf(one), 0);

/** Equality visits everything in two lists or maps. */
const sizeOfEqual = ([, a, b]: readonly unknown[]): number =>
  typeof a === "object" && typeof b === "object" ? Math.min(sizeOf(a), sizeOf(b)) : 0;

/** The same function, which does not accept an empty text: Go reads no number, time or duration in it. */
function ofFilledText(func: CelFunc): CelFunc {
  const call = (id: number, target: CelValue | undefined, args: CelValue[]) =>
    args[0] === "" ? celError(`${func.name}("") has no value`, id) : func.call(id, target, args.map(withMicroSign));
  return Object.create(func, { call: { value: call } }) as CelFunc;
}

/** Go reads the Greek letter in a unit of durations, too; no number and no time has it. */
const withMicroSign = (value: CelValue): CelValue =>
  typeof value === "string" ? value.replaceAll("\u03bc", "\u00b5") : value;

const unsafe = new Set(["replace", "join", "indexOf", "lastIndexOf"]);

const patterns = new Map<string, RE2JS>();
const mostPatterns = 1_000;
const longestPattern = 1_000;

/** A pattern of RE2, compiled once. Throws an Error for one that is none. */
function pattern(text: string): RE2JS {
  let found = patterns.get(text);
  if (found === undefined) {
    if (text.length > longestPattern) throw new Error(`a regular expression of more than ${longestPattern} characters`);
    spend(10 + text.length);
    found = RE2JS.compile(text);
    if (patterns.size >= mostPatterns) patterns.clear();
    patterns.set(text, found);
  }
  return found;
}

/** Why a text is no pattern, in one line; undefined: it is one. */
export function patternProblem(text: string): string | undefined {
  try {
    pattern(text);
    return undefined;
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, " ");
    return `${JSON.stringify(text.slice(0, 100))} is no regular expression of RE2: ${why}`;
  }
}

/** Matching is linear in the text, times the size of the pattern at worst. */
const spendMatch = (text: string, expression: string): void =>
  spend(1 + (text.length * (1 + expression.length)) / 1000);

function replaced(text: string, [part, by, most]: readonly [string, string, bigint]): string {
  spendSearch(text, part);
  const limit = most < 0n ? Number.POSITIVE_INFINITY : Number(most);
  const pieces = text.split(part);
  const count = Math.min(limit, part === "" ? text.length + 1 : pieces.length - 1);
  spendText(text.length, count * by.length);
  if (part === "") {
    const letters = [...text];
    return [...letters.map((letter, i) => (i < limit ? by + letter : letter)), letters.length < limit ? by : ""].join(
      "",
    );
  }
  return [pieces.slice(0, count + 1).join(by), ...pieces.slice(count + 1)].join(part);
}

function joined(parts: CelList, separator: string): string {
  const texts: string[] = [];
  for (const part of parts) {
    if (typeof part !== "string") throw new Error("join() needs a list of strings");
    texts.push(part);
  }
  spendText(...texts.map((text) => text.length), separator.length * texts.length);
  return texts.join(separator);
}

function placeIn(text: string, part: string, from: bigint): bigint {
  spendSearch(text, part);
  if (from < 0n || from > BigInt(text.length)) throw new Error(`index ${from} is out of range`);
  return BigInt(text.indexOf(part, Number(from)));
}
function lastPlaceIn(text: string, part: string, from: bigint): bigint {
  spendSearch(text, part);
  if (from < 0n || from > BigInt(text.length)) throw new Error(`index ${from} is out of range`);
  return BigInt(text.lastIndexOf(part, Number(from)));
}

/** JSON and Go write numbers in the same way; JavaScript also reads an empty text, hexadecimals and spaces. */
function numberIn(text: string, form: RegExp, type: string): string {
  if (text.length > 100 || !form.test(text)) throw new Error(`${JSON.stringify(text.slice(0, 40))} is no ${type}`);
  return text;
}
const whole = /^[-+]?\d+$/;
const decimal = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?Inf(inity)?$|^NaN$/;

function intIn(text: string): bigint {
  const found = BigInt(numberIn(text, whole, "int").replace(/^\+/, ""));
  if (BigInt.asIntN(64, found) !== found) throw new Error(`${text} is out of the range of int`);
  return found;
}

/** The lists that the macros `map` and `filter` are filling. */
const filling = new WeakMap<CelList, CelInput[]>();

/**
 * Appends an item to the list that a macro fills, which nothing else sees. The library would create a chain with a link for
 * each item, and reading it takes time that is quadratic in its length.
 */
function appended(to: CelList, item: CelInput): CelList {
  const items = filling.get(to);
  if (items !== undefined) {
    items.push(item);
    return to;
  }
  if (to.size > 0) return celListConcat(to, celList([item]));
  const first = [item];
  const created = celList(first);
  filling.set(created, first);
  return created;
}

/** Names that no expression can write: the compiled form of an expression calls them. */
export const internal = { step: "@step", append: "@append" } as const;

/** `standard` are the library's own functions. */
export function boundedFunctions(standard: Iterable<CelFunc>): CelFunc[] {
  const own = [...standard];
  const equality = own.filter(({ name }) => name === "_==_" || name === "_!=_");
  const searching = own.filter(({ name }) => name === "@in");
  const ofLetters = own.filter(
    ({ name, target, arguments: [first] }) => name === "size" && (target ?? first) === STRING,
  );
  return [
    celFunc(internal.step, [DYN], DYN, (value) => {
      spend(1);
      return value;
    }),
    celFunc(internal.append, [list, DYN], list, appended),
    ...equality.map((func) => charged(func, sizeOfEqual)),
    ...[...searching, ...ofLetters].map((func) => charged(func)),
    celFunc("_+_", [list, list], list, (a, b) => {
      spend(a.size + b.size);
      return celList([...a, ...b]);
    }),
    celFunc("_+_", [STRING, STRING], STRING, (a, b) => {
      spendText(a.length, b.length);
      return a + b;
    }),
    celMethod("contains", STRING, [STRING], BOOL, function (part) {
      spendSearch(this, part);
      return this.includes(part);
    }),
    celMethod("matches", STRING, [STRING], BOOL, function (expression) {
      spendMatch(this, expression);
      return pattern(expression).test(this);
    }),
    celFunc("matches", [STRING, STRING], BOOL, (text, expression) => {
      spendMatch(text, expression);
      return pattern(expression).test(text);
    }),
    celFunc("int", [STRING], INT, intIn),
    celFunc("double", [STRING], DOUBLE, (text) =>
      Number(numberIn(text, decimal, "double").replace(/Inf$/, "Infinity")),
    ),
    ...strings.filter(({ name }) => !unsafe.has(name)).map((func) => charged(func)),
    celMethod("replace", STRING, [STRING, STRING], STRING, function (part, by) {
      return replaced(this, [part, by, -1n]);
    }),
    celMethod("replace", STRING, [STRING, STRING, INT], STRING, function (part, by, most) {
      return replaced(this, [part, by, most]);
    }),
    celMethod("join", list, [], STRING, function () {
      return joined(this, "");
    }),
    celMethod("join", list, [STRING], STRING, function (separator) {
      return joined(this, separator);
    }),
    celMethod("indexOf", STRING, [STRING], INT, function (part) {
      return placeIn(this, part, 0n);
    }),
    celMethod("indexOf", STRING, [STRING, INT], INT, function (part, from) {
      return placeIn(this, part, from);
    }),
    celMethod("lastIndexOf", STRING, [STRING], INT, function (part) {
      return lastPlaceIn(this, part, BigInt(this.length));
    }),
    celMethod("lastIndexOf", STRING, [STRING, INT], INT, function (part, from) {
      return lastPlaceIn(this, part, from);
    }),
    ...own.filter(isOfText).map(ofFilledText),
  ];
}

const isOfText = ({ name, arguments: [first, ...others] }: CelFunc): boolean =>
  (name === "uint" || name === "duration" || name === "timestamp") && first === STRING && others.length === 0;
