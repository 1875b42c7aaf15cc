/** Whether a text is one of some names; in each, `*` stands for any characters, none included. */
export interface Globs {
  readonly names: readonly string[];
  matches(text: string): boolean;
}

/** Compiles the names once. A match costs one look-up, and linear time in the text for each name with a `*`. */
export function globs(names: readonly string[]): Globs {
  const exact = new Set(names.filter((name) => !isGlob(name)));
  const patterns = names.filter(isGlob).map(compile);
  return { names, matches: (text) => exact.has(text) || patterns.some((matches) => matches(text)) };
}

export const isGlob = (name: string): boolean => name.includes("*");

/**
 * Matches piece by piece from the left in linear time, which a regular expression with many stars does not guarantee.
 */
function compile(glob: string): (text: string) => boolean {
  const pieces = glob.split("*");
  const first = pieces.shift() ?? "";
  const last = pieces.pop() ?? "";
  return (text) => {
    if (!text.startsWith(first)) return false;
    let from = first.length;
    for (const piece of pieces) {
      const found = text.indexOf(piece, from);
      if (found < 0) return false;
      from = found + piece.length;
    }
    return text.length - last.length >= from && text.endsWith(last);
  };
}
