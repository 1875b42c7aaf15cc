import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder for the test files of a process, removed at its end. */
export const folder = mkdtempSync(join(tmpdir(), "meshward-cli-"));
process.on("exit", () => rmSync(folder, { recursive: true }));
let files = 0;

/** The path of a new file with this text. */
export function fileWith(text: string): string {
  const file = join(folder, `${files++}.yaml`);
  writeFileSync(file, text);
  return file;
}
