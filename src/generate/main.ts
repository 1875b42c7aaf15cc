import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type GeneratedFile, generatedFiles, root } from "./files.ts";

/** Writes what is generated from metadata; with `--check`, only says what is out of date and exits 1. */
const isCheck = process.argv.includes("--check");
const stale = generatedFiles().filter((file) => read(file.path) !== file.content);
for (const file of stale) {
  if (isCheck) process.stderr.write(`${file.path} is out of date: run npm run generate\n`);
  else write(file);
}
if (isCheck && stale.length > 0) process.exitCode = 1;

function read(path: string): string | undefined {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return undefined;
  }
}

function write({ path, content }: GeneratedFile): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
  process.stdout.write(`wrote ${path}\n`);
}
