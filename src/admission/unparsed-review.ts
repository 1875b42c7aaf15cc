// What is read from a review before it is parsed.

/** Smaller bodies are parsed without counting: at worst, that takes some ten milliseconds. */
const uncountedBytes = 512 * 1_024;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openBracket = 0x5b;
const openBrace = 0x7b;

/**
 * Whether JSON text contains more than `most` commas and opening brackets outside strings, and so more values than that.
 * Parsing millions of values takes a second, and counting them a fiftieth of it.
 */
export function hasMoreValues(body: Uint8Array | string, most: number): boolean {
  if (body.length < uncountedBytes) return false;
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  let count = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === quote) i = endOfString(bytes, i);
    else if ((byte === comma || byte === openBracket || byte === openBrace) && ++count > most) return true;
  }
  return false;
}

/** The position of the quote that ends the string, or the end of the body. */
function endOfString(bytes: Uint8Array, start: number): number {
  let i = start + 1;
  while (i < bytes.length && bytes[i] !== quote) i += bytes[i] === backslash ? 2 : 1;
  return i;
}

const headBytes = 4_096;

/**
 * The uid of a review that is not parsed. The API server writes it first in the request, before anything that a user
 * wrote. "" if it is missing.
 */
export function uidInHead(body: Uint8Array | string): string {
  const head =
    typeof body === "string" ? body.slice(0, headBytes) : Buffer.from(body.subarray(0, headBytes)).toString("latin1");
  return /"request"\s*:\s*\{\s*"uid"\s*:\s*"([^"\\]{1,128})"/.exec(head)?.[1] ?? "";
}
