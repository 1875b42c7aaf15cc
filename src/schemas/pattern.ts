import { RE2JS } from "@bufbuild/re2";

const compiled = new Map<string, RE2JS | undefined>();
const mostCompiled = 2000;

/**
 * Whether a text matches a pattern as Go's regexp package has it, in time linear in the text. A pattern that this package
 * does not know matches everything.
 */
export function matches(pattern: string, text: string): boolean {
  if (!compiled.has(pattern)) {
    if (compiled.size >= mostCompiled) compiled.clear();
    compiled.set(pattern, compile(pattern));
  }
  return compiled.get(pattern)?.test(text) ?? true;
}

function compile(pattern: string): RE2JS | undefined {
  try {
    return new RE2JS(pattern);
  } catch {
    return undefined;
  }
}
