import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { GeneratedFile } from "./rule-pages.ts";

/** Whether the file below `root` exists and has exactly this content. */
export function isWritten(root: string, { path, content }: GeneratedFile): boolean {
  try {
    return readFileSync(join(root, path), "utf8") === content;
  } catch {
    return false;
  }
}

/** Writes the file below `root`, creates its folders, and prints its path. */
export function write(root: string, { path, content }: GeneratedFile): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
  process.stdout.write(`wrote ${path}\n`);
}
