import { findTexts, partOf, type Search, Texts } from "./texts.ts";
import type { Pattern } from "./patterns.ts";
import type { Found, Value, Values } from "./values.ts";

/** A set of lists, such as the values of a repeated header: those with an element that a policy lists. */
export class Lists implements Values {
  readonly texts: Texts;

  constructor(patterns: readonly Pattern[]) {
    this.texts = new Texts(patterns.map((pattern) => [partOf(pattern)]));
  }

  get size(): number {
    return this.texts.size;
  }

  has(value: Value): boolean {
    return typeof value === "object" && value.some((element) => this.texts.has([element]));
  }
}

/** The lists with an element that is none of these. */
export class ListsBeyond implements Values {
  readonly texts: Texts;

  constructor({ texts }: Lists) {
    this.texts = texts;
  }

  get size(): number {
    return this.texts.size;
  }

  has(value: Value): boolean {
    return typeof value === "object" && value.some((element) => !this.texts.has([element]));
  }
}

/** One element for each of the first sets, and none that another set has. */
export function findList(
  required: readonly (Lists | ListsBeyond)[],
  excluded: readonly (Lists | ListsBeyond)[],
  search: Search,
): Found {
  const not = excluded.filter((set) => set instanceof Lists).map(({ texts }) => texts);
  const only = excluded.filter((set) => set instanceof ListsBeyond).map(({ texts }) => texts);
  const elements: string[] = [];
  for (const set of required) {
    const isIn = set instanceof Lists;
    const found = findTexts(isIn ? [set.texts, ...only] : only, isIn ? not : [...not, set.texts], search);
    if (found === undefined || typeof found.value !== "object") return undefined;
    elements.push(...found.value);
  }
  return { value: [...new Set(elements)] };
}
