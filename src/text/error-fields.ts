/**
 * The fields of an error for the log. Nothing of an object may be logged, and the text of a SyntaxError quotes the input that
 * could not be read (JSON.parse, RegExp, BigInt), so only its name and its place in the code are kept.
 */
export function errorFields(error: unknown): { readonly error: string; readonly stack?: string } {
  if (!(error instanceof Error)) return { error: typeof error };
  const text = error instanceof SyntaxError ? error.name : error.message;
  const frames = error.stack?.split("\n").filter((line) => line.startsWith("    at "));
  return frames === undefined ? { error: text } : { error: text, stack: [text, ...frames].join("\n") };
}
