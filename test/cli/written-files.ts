import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** A folder of its own for a test file, removed after its tests. */
export const folder = mkdtempSync(join(tmpdir(), "meshward-cli-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

/** The path of a new file with this text. */
export function fileWith(text: string): string {
  const file = join(folder, `${files++}.yaml`);
  writeFileSync(file, text);
  return file;
}
