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

/** One element for each of the first sets, and none that another set has. */
export function findList(required: readonly Lists[], excluded: readonly Lists[], search: Search): Found {
  const not = excluded.map(({ texts }) => texts);
  const elements: string[] = [];
  for (const { texts } of required) {
    const found = findTexts([texts], not, search);
    if (found === undefined || typeof found.value !== "object") return undefined;
    elements.push(...found.value);
  }
  return { value: [...new Set(elements)] };
}
