import { shortestText } from "./automaton.ts";
import { anything, exactly, oneSegment, Pattern } from "./patterns.ts";
import { type Found, isFine, type Value, type Values } from "./values.ts";
import type { Work } from "./work.ts";

/** What one text of a value has to be. */
export type Part = string | Pattern;

/** The text itself, if the pattern has no wildcard. */
export const partOf = (pattern: Pattern): Part => pattern.literal ?? pattern;

const isExact = (parts: readonly Part[]): parts is readonly string[] => parts.every((part) => typeof part === "string");

/** A set of values of one or several texts: those that are listed, and those that a pattern for each text matches. */
export class Texts implements Values {
  readonly exact: ReadonlyMap<string, readonly string[]>;
  readonly patterns: readonly (readonly Pattern[])[];
  #cost: number | undefined;
  #starts: string[] | undefined;
  #literals: (ReadonlySet<string> | false)[] | undefined;

  /** Each element has one text or pattern for each text of a value. */
  constructor(all: Iterable<readonly Part[]>) {
    const exact = new Map<string, readonly string[]>();
    const patterns: (readonly Pattern[])[] = [];
    for (const one of all)
      if (isExact(one)) exact.set(keyOf(one), one);
      else patterns.push(one.map((part) => (typeof part === "string" ? exactly(part) : part)));
    this.exact = exact;
    this.patterns = patterns;
  }

  static union(sets: readonly Texts[]): Texts {
    return new Texts(sets.flatMap(({ exact, patterns }) => [...patterns, ...exact.values()]));
  }

  /** What it takes to look for a value: patterns are compared one by one, and some of them take longer. */
  get cost(): number {
    return (this.#cost ??= this.patterns.reduce(
      (sum, one) => sum + one.reduce((most, { cost }) => Math.max(most, cost), 1),
      1,
    ));
  }

  get size(): number {
    return this.exact.size + this.patterns.length;
  }

  /** Whether no value can be in both sets, because they list different values, or all start otherwise, or have other literal texts; false: that is not known. */
  isApartFrom(other: Texts): boolean {
    if (this.patterns.length === 0 && other.patterns.length === 0) return areDisjoint(this.exact, other.exact);
    return places.some((i) => this.#isApartAt(i, other));
  }

  #isApartAt(i: number, other: Texts): boolean {
    const [start, otherStart] = [this.#startAt(i), other.#startAt(i)];
    if (!start.startsWith(otherStart) && !otherStart.startsWith(start)) return true;
    const own = this.#literalsAt(i);
    const others = own !== false && other.#literalsAt(i);
    return own !== false && others !== false && own.isDisjointFrom(others);
  }

  /** The literal text that all values start with at one place. */
  #startAt(i: number): string {
    return ((this.#starts ??= [])[i] ??= this.#findStart(i));
  }

  #findStart(i: number): string {
    let start: string | undefined;
    const all = [this.patterns.values().map((parts) => parts[i]?.start), this.exact.values().map((parts) => parts[i])];
    for (const starts of all)
      for (const one of starts) if ((start = commonStart(start ?? one ?? "", one ?? "")) === "") return "";
    return start ?? "";
  }

  /** The literal texts at one place; false: a pattern has none there. */
  #literalsAt(i: number): ReadonlySet<string> | false {
    return ((this.#literals ??= [])[i] ??= this.#findLiterals(i));
  }

  #findLiterals(i: number): ReadonlySet<string> | false {
    if (this.patterns.some((parts) => parts[i]?.literal === undefined)) return false;
    const found = new Set<string>();
    for (const parts of this.patterns) found.add(parts[i]?.literal ?? "");
    for (const parts of this.exact.values()) found.add(parts[i] ?? "");
    return found;
  }

  has(value: Value): boolean {
    if (typeof value !== "object") return false;
    if (this.exact.size > 0 && this.exact.has(keyOf(value))) return true;
    return this.patterns.some((one) => one.every((pattern, i) => pattern.matches(value[i] ?? "")));
  }
}

/** No value has more texts than an identity. */
const places = [0, 1, 2];
const literally = (texts: readonly string[]): readonly Pattern[] => texts.map(exactly);
function areDisjoint(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  for (const key of few.keys()) if (many.has(key)) return false;
  return true;
}
const keyOf = (texts: readonly string[]): string => (texts.length === 1 ? (texts[0] ?? "") : texts.join("\n"));

function commonStart(a: string, b: string): string {
  if (b.startsWith(a)) return a;
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}

/** How to search for an example of texts. */
export interface Search {
  readonly work: Work;
  /** For each text: texts that wildcards stand for in an example, the most readable first. */
  readonly fillers: readonly (readonly string[])[];
  /** No other values exist, except those that policies list. */
  readonly isClosed: boolean;
}

/** A value that is in all of the first sets and in none of the others. */
export function findTexts(required: readonly Texts[], excluded: readonly Texts[], search: Search): Found {
  const { work, fillers } = search;
  const visited = costOf(required) + costOf(excluded);
  const isIn = (value: readonly string[]): boolean => {
    work.spend(visited);
    return isFine(value, required, excluded);
  };
  for (const { exact, patterns } of required) {
    for (const value of exact.values()) if (isIn(value)) return { value };
    if (patterns.length === 0) return undefined;
  }
  const exclusion = { ...search, excluded, isShort: required.every(({ patterns }) => patterns.length <= fewPatterns) };
  const value = firstOfChoices(
    required,
    fillers.map(() => []),
    work,
    (choice) => {
      work.spend(choice.length);
      return exampleOf(choice, isIn, exclusion);
    },
  );
  return value && { value };
}

const costOf = (sets: readonly Texts[]): number => sets.reduce((sum, { cost }) => sum + cost, 0);

/**
 * The first answer for a choice of one element of every set, beside those that are chosen already. A choice is, for each text,
 * the patterns that it has to match.
 */
function firstOfChoices<T>(
  sets: readonly Texts[],
  chosen: readonly (readonly Pattern[])[],
  work: Work,
  answer: (choice: readonly (readonly Pattern[])[]) => T | undefined,
): T | undefined {
  const last = sets.at(-1);
  if (last === undefined) return answer(chosen);
  const others = sets.slice(0, -1);
  for (const patterns of last.patterns) {
    work.spend(3);
    const choice = chosen.map((some, i) => withPattern(some, patterns[i]));
    const found = firstOfChoices(others, choice, work, answer);
    if (found !== undefined) return found;
  }
  return undefined;
}

function withPattern(some: readonly Pattern[], added: Pattern | undefined): readonly Pattern[] {
  return added === undefined || some.includes(added) ? some : [...some, added];
}

interface Exclusion extends Search {
  readonly excluded: readonly Texts[];
  /** There are so few choices that each of them can be compared with all of these. */
  readonly isShort: boolean;
}

function exampleOf(
  choice: readonly (readonly Pattern[])[],
  isIn: (value: readonly string[]) => boolean,
  search: Exclusion,
): readonly string[] | undefined {
  if (!choice.every(areCompatible) || isExcluded(choice, search)) return undefined;
  const candidates = (i: number) => candidatesOf(choice[i] ?? [], search.fillers[i] ?? []);
  const usual = choice.map((_, i): string | undefined => candidates(i).next().value);
  // Where nothing readable matches, all fillers were tried in vain.
  search.work.spend(usual.filter((text) => text === undefined).length * triedInVain);
  if (isWhole(usual) && isIn(usual)) return usual;
  for (const i of choice.keys())
    for (const candidate of candidates(i)) {
      const value = usual.with(i, candidate);
      if (isWhole(value) && isIn(value)) return value;
    }
  if (search.isClosed) return undefined;
  return searched(choice, usual, { isIn, search });
}

const triedInVain = 200;

/** Whether an element of a short set contains, for each text, a pattern that it has to match, so that no search is needed. */
const isExcluded = (choice: readonly (readonly Pattern[])[], { excluded, isShort }: Exclusion): boolean =>
  (isShort || choice.length === 1) &&
  excluded.some(
    ({ patterns }) =>
      patterns.length <= fewPatterns &&
      patterns.some((element) =>
        choice.every((some, i) => (some.length === 0 ? [anything] : some).some((one) => element[i]?.contains(one))),
      ),
  );
const fewPatterns = 8;

/** Whether the literal starts of all patterns fit together, and their literal ends; a literal text has to match them all. */
function areCompatible(patterns: readonly Pattern[]): boolean {
  if (patterns.length < 2) return true;
  const literal = literalOf(patterns);
  if (literal !== undefined) return patterns.every((pattern) => pattern.matches(literal));
  let [longestStart, longestEnd] = ["", ""];
  for (const { start, end } of patterns) {
    if (start.length > longestStart.length ? !start.startsWith(longestStart) : !longestStart.startsWith(start))
      return false;
    if (end.length > longestEnd.length ? !end.endsWith(longestEnd) : !longestEnd.endsWith(end)) return false;
    if (start.length > longestStart.length) longestStart = start;
    if (end.length > longestEnd.length) longestEnd = end;
  }
  return true;
}

const literalOf = (patterns: readonly Pattern[]): string | undefined =>
  patterns.find((pattern) => pattern.literal !== undefined)?.literal;

const isWhole = (value: readonly (string | undefined)[]): value is readonly string[] =>
  value.every((text) => text !== undefined);

/** Decides by automata what no candidate has shown: one text of the value after the other, the rest as usual. */
function searched(
  choice: readonly (readonly Pattern[])[],
  usual: readonly (string | undefined)[],
  { isIn, search }: { readonly isIn: (value: readonly string[]) => boolean; readonly search: Exclusion },
): readonly string[] | undefined {
  const isIdentity = choice.length === 3;
  for (const [i, required] of choice.entries()) {
    const excluded = search.excluded.flatMap((set) => patternsOf(set, i, usual));
    if (required.length === 0 && excluded.length === 0) continue;
    const text = shortestText(isIdentity ? [...required, segment] : required, excluded, search.work);
    const value = usual.map((other, j) => (i === j ? text : other));
    if (isWhole(value) && isIn(value)) return value;
  }
  return undefined;
}

/** The texts of an identity contain no slash. */
const segment = new Pattern([oneSegment]);

/** The patterns for one text in those elements whose other texts match. */
function patternsOf({ exact, patterns }: Texts, i: number, usual: readonly (string | undefined)[]): readonly Pattern[] {
  const all = [...patterns, ...[...exact.values()].map(literally)];
  return all
    .filter((one) => one.every((pattern, j) => i === j || pattern.matches(usual[j] ?? "")))
    .flatMap((one) => one[i] ?? []);
}

/** Texts that match all patterns, if they have one wildcard each; of other patterns, texts that probably match. */
function* candidatesOf(patterns: readonly Pattern[], fillers: readonly string[]): Generator<string, undefined> {
  const literal = literalOf(patterns);
  if (literal !== undefined) {
    yield literal;
    return;
  }
  const ends = { prefix: "", suffix: "" };
  const others: Pattern[] = [];
  for (const pattern of patterns) {
    if (pattern.ends === undefined) {
      others.push(pattern);
      continue;
    }
    if (pattern.ends.prefix.length > ends.prefix.length) ends.prefix = pattern.ends.prefix;
    if (pattern.ends.suffix.length > ends.suffix.length) ends.suffix = pattern.ends.suffix;
  }
  const isMatched = (text: string) => patterns.every((pattern) => pattern.matches(text));
  for (const filler of fillers) {
    const text = ends.prefix + filler + ends.suffix;
    if (isMatched(text)) yield text;
    yield* others.map((one) => filled(one, filler)).filter(isMatched);
  }
  yield* overlapsOf(ends).filter(isMatched);
}

const filled = ({ tokens }: Pattern, filler: string): string =>
  tokens
    .map((token) => (typeof token === "string" ? token : token.slash ? filler : filler.replaceAll("/", "")))
    .join("");

/** Texts in which the end of the prefix is the start of the suffix. */
function overlapsOf({ prefix, suffix }: { readonly prefix: string; readonly suffix: string }): readonly string[] {
  const most = Math.min(prefix.length, suffix.length);
  return Array.from({ length: most }, (_, i) => most - i)
    .filter((length) => prefix.endsWith(suffix.slice(0, length)))
    .map((length) => prefix + suffix.slice(length));
}
