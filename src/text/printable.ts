// All text from users that Meshward prints (names, values, label keys) is sanitized here before it goes into a message,
// a
// warning or a log line. The API server silently drops a warning that contains a control character, and a terminal
// interprets escape sequences.

// The characters that need replacement. Most text contains none and is returned unchanged.
const plainLine = /^[\x20-\x7e]*$/;
const plainText = /^[\x20-\x7e\n]*$/;
const escapeSequence = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b/g;
const lineBreak = /[\r\n\t\v\f\u0085\u2028\u2029]+/g;
// Other controls, marks that reorder text (bidi), invisible characters and lone surrogates.
const hidden = /[\p{Cc}\p{Bidi_Control}\p{Cs}\u200b\u2060\ufeff]/gu;
const hiddenButLineFeed = /[^\P{Cc}\n]|[\p{Bidi_Control}\p{Cs}\u200b\u2060\ufeff]/gu;

/** Returns one line without control, bidirectional or invisible characters, cut with `…` after `limit` code points. */
export function printableLine(text: string, limit: number): string {
  if (plainLine.test(text)) return text.length <= limit ? text : cut(text, limit);
  const line = text.replace(escapeSequence, "").replace(lineBreak, " ").replace(hidden, "");
  return cut(line, limit);
}

/** Like `printableLine`, but keeps line feeds. Text that is too long is cut at a line end, and a last line says so. */
export function printableText(text: string, maximumBytes: number): string {
  const clean = plainText.test(text) ? text : cleanText(text);
  return Buffer.byteLength(clean) <= maximumBytes ? clean : cutLines(clean, maximumBytes);
}

/** A value for a message: a printable line of at most 64 code points in JSON quotes. */
export function quoted(text: string): string {
  return JSON.stringify(printableLine(text, 64));
}

function cleanText(text: string): string {
  return text
    .replace(escapeSequence, "")
    .replace(/\r\n?|[\u0085\u2028\u2029]/g, "\n")
    .replaceAll("\t", " ")
    .replace(hiddenButLineFeed, "");
}

function cut(line: string, limit: number): string {
  if (line.length <= limit) return line;
  const codePoints = [...line.slice(0, 2 * limit + 2)];
  return codePoints.length <= limit ? line : `${codePoints.slice(0, limit - 1).join("")}…`;
}

function cutLines(text: string, maximumBytes: number): string {
  const lines = text.split("\n");
  const room = maximumBytes - 40; // for the line that says how many are missing
  let kept = 0;
  let bytes = 0;
  for (const line of lines) {
    bytes += Buffer.byteLength(line) + 1;
    if (bytes > room) break;
    kept++;
  }
  if (kept === 0) return `${cutBytes(text, room)}…`;
  return `${lines.slice(0, kept).join("\n")}\n…and ${lines.length - kept} more lines`;
}

function cutBytes(text: string, maximumBytes: number): string {
  const bytes = Buffer.from(text).subarray(0, maximumBytes);
  // A code point that was cut decodes to U+FFFD.
  return bytes.toString("utf8").replace(/\ufffd+$/, "");
}
