import { RE2JS } from "@bufbuild/re2";
import { printableLine } from "../text/printable.ts";

const compiled = new Map<string, RE2JS | string>();
const mostCompiled = 2000;

/**
 * Whether a text matches a pattern as Go's regexp package has it, in time linear in the text. Everything matches a pattern that
 * this package does not know: see {@link patternProblem}.
 */
export function matches(pattern: string, text: string): boolean {
  const found = compiledOf(pattern);
  return typeof found === "string" || found.test(text);
}

/** Why a text is no pattern, in one line; undefined if it is one. */
export function patternProblem(pattern: string): string | undefined {
  const found = compiledOf(pattern);
  return typeof found === "string" ? found : undefined;
}

function compiledOf(pattern: string): RE2JS | string {
  let found = compiled.get(pattern);
  if (found === undefined) {
    if (compiled.size >= mostCompiled) compiled.clear();
    compiled.set(pattern, (found = compile(pattern)));
  }
  return found;
}

function compile(pattern: string): RE2JS | string {
  try {
    return new RE2JS(pattern);
  } catch (error) {
    return printableLine(error instanceof Error ? error.message : String(error), 200);
  }
}
