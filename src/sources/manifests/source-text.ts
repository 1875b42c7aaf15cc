import { isUtf8 } from "node:buffer";
import { createReadStream, readFileSync, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { unreadable } from "../../text/file-errors.ts";

/** Larger than any real manifest file, and small enough to keep several in memory. */
const maxFileBytes = 64 * 1024 * 1024;

export type Reading = { readonly text: string } | { readonly problem: string };

const tooLarge: Reading = {
  problem: `larger than ${maxFileBytes / 1024 / 1024} MiB, the limit for one file: split it`,
};

/** Reads a regular file synchronously, in a fiftieth of the time of a stream. Pipes and devices are read as streams. */
export async function readFileText(path: string): Promise<Reading> {
  try {
    const stats = statSync(path);
    if (!stats.isFile()) return await readStreamText(createReadStream(path));
    if (stats.size > maxFileBytes) return tooLarge;
    const bytes = readFileSync(path);
    return bytes.length > maxFileBytes ? tooLarge : decode(bytes);
  } catch (error) {
    return { problem: unreadable(error) };
  }
}

/** Reads to the end, or to the limit. */
export async function readStreamText(stream: Readable): Promise<Reading> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer | string>) {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      size += bytes.length;
      if (size > maxFileBytes) return tooLarge;
      chunks.push(bytes);
    }
  } catch (error) {
    return { problem: unreadable(error) };
  }
  return decode(Buffer.concat(chunks));
}

function decode(bytes: Buffer): Reading {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return { problem: "written in UTF-16: save it as UTF-8" };
  }
  const zero = bytes.indexOf(0);
  if (zero !== -1) return { problem: `not a text file: byte ${zero + 1} is 0; give a YAML or JSON file` };
  if (!isUtf8(bytes)) return { problem: "not a text file, or not written in UTF-8: save it as UTF-8" };
  const text = bytes.toString("utf8");
  const problem = leftByGit(text);
  return problem === undefined ? { text: text.startsWith("\uFEFF") ? text.slice(1) : text } : { problem };
}

/** What git leaves in place of a file: a pointer (the specification of Git LFS, docs/spec.md), or the marks of a conflict. */
function leftByGit(text: string): string | undefined {
  if (text.startsWith("version https://git-lfs.github.com/spec/"))
    return "a pointer of Git LFS, whose file was not fetched: git lfs pull (lfs: true of actions/checkout), or name it in .meshwardignore";
  const conflict = /^<{7} .*$/m.exec(text);
  if (conflict === null || !/^={7}$/m.test(text) || !/^>{7} .*$/m.test(text)) return undefined;
  const line = text.slice(0, conflict.index).split("\n").length;
  return `it has a conflict of git that is not resolved, in line ${line}: resolve it`;
}
