import { closeSync, openSync, readSync } from "node:fs";

const newline = 0x0a;
const blockBytes = 1 << 20;

/**
 * Reads the lines of a UTF-8 file, without the `\n` at their end. Only `\n` ends a line: node:readline also splits at
 * U+2028, which JSON strings may contain. Keeps one block or the longest line in memory.
 * Reads synchronously. Throws a system error if the file cannot be read.
 */
export function* linesOf(file: string): Iterable<string> {
  const descriptor = openSync(file, "r");
  try {
    let block = Buffer.allocUnsafe(blockBytes);
    let filled = 0;
    for (;;) {
      if (filled === block.length) block = Buffer.concat([block], block.length * 2);
      const read = readSync(descriptor, block, filled, block.length - filled, null);
      if (read === 0) break;
      const last = block.subarray(filled, filled + read).lastIndexOf(newline);
      const end = last < 0 ? 0 : filled + last + 1;
      filled += read;
      if (end === 0) continue;
      yield* linesIn(block.toString("utf8", 0, end));
      block.copyWithin(0, end, filled);
      filled -= end;
    }
    if (filled > 0) yield block.toString("utf8", 0, filled);
  } finally {
    closeSync(descriptor);
  }
}

/** `text` ends with a newline. */
function* linesIn(text: string): Iterable<string> {
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf("\n", start);
    yield text.slice(start, end);
    start = end + 1;
  }
}
