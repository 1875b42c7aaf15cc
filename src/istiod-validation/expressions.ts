import { parse } from "@bufbuild/cel";

// Imported only where there is an expression, because the CEL library takes a tenth of a second to load.

/** The longest expression that is read; longer ones are not checked. */
const longest = 10_000;

/** Why a text is no expression in the syntax of CEL, in one line. Never throws. */
export function expressionProblem(text: string): string | undefined {
  if (text.length > longest) return undefined;
  try {
    parse(readable(text));
    return undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    const at = offsetOf(error);
    const rest = text.slice(at, at + 20).split("\n")[0] ?? "";
    return rest.trim() === "" ? "it ends too early" : `it cannot be read from ${JSON.stringify(rest)} on`;
  }
}

/**
 * The library does not read comments, which end with the line, nor names that begin with `true` or `false`. Texts in quotes have
 * neither. All positions stay the same.
 */
const readable = (text: string): string =>
  text.replace(
    /("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\/\/[^\n]*|(?<!\w)(?:true|false)(?=\w)/gs,
    (all, quotation?: string) => quotation ?? (all.startsWith("/") ? " " : "_").repeat(all.length),
  );

function offsetOf(error: unknown): number {
  const offset = (error as { location?: { start?: { offset?: unknown } } }).location?.start?.offset;
  return typeof offset === "number" ? offset : 0;
}
