const escaped = (quote: string): string =>
  `${quote}{3}(?:\\\\[^]?|(?!${quote}{3})[^\\\\])*(?:${quote}{3}|$)|${quote}(?:\\\\[^]?|[^${quote}\\\\\\n])*${quote}?`;
const raw = (quote: string): string => `${quote}{3}[^]*?(?:${quote}{3}|$)|${quote}[^${quote}\\n]*${quote}?`;

/**
 * The texts and comments of an expression (CEL's language definition, Syntax). A text that does not end reaches as far as it
 * can, so that this takes linear time.
 */
const textsAndComments = new RegExp(
  `(?<!\\w)(?:[rR][bB]?|[bB][rR])(?:${raw('"')}|${raw("'")})|${escaped('"')}|${escaped("'")}|//[^\\n]*`,
  "g",
);

const closed = (quote: string): string => `${quote}{3}[^]*${quote}{3}|${quote}(?:\\\\[^]|[^${quote}\\\\\\n])*${quote}`;
const closedText = new RegExp(`^(?:[rRbB]+(?:'[^']*'|"[^"]*")|[rRbB]*(?:${closed('"')}|${closed("'")}))$`);

/** Whether a text in the expression does not end. */
export function hasOpenText(expression: string): boolean {
  const texts = [...expression.matchAll(textsAndComments)].map(([found]) => found);
  return texts.some((found) => !found.startsWith("//") && !closedText.test(found));
}

const closing: ReadonlyMap<string, string> = new Map([
  ["(", ")"],
  ["[", "]"],
  ["{", "}"],
]);

/** The last bracket that is not closed, if all that are closed match; undefined: there is none, or one is closed that is not open. */
export function openBracketIn(expression: string): string | undefined {
  const open: string[] = [];
  for (const letter of expression.replace(textsAndComments, " ")) {
    if (closing.has(letter)) open.push(letter);
    else if (")]}".includes(letter) && closing.get(open.pop() ?? "") !== letter) return undefined;
  }
  return open.at(-1);
}

/** The expression with its code and its comments replaced, and its texts as they are. */
export function replaced(
  expression: string,
  by: { readonly code?: (code: string) => string; readonly comment: (comment: string) => string },
): string {
  const { code = (text) => text, comment } = by;
  let [result, from] = ["", 0];
  for (const { 0: found, index } of expression.matchAll(textsAndComments)) {
    result += code(expression.slice(from, index)) + (found.startsWith("//") ? comment(found) : found);
    from = index + found.length;
  }
  return result + code(expression.slice(from));
}
