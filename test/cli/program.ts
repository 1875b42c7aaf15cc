import { createHash } from "node:crypto";
import { globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { assetFolders } from "../../src/config/assets.ts";
import { root } from "../../src/generate/files.ts";

// The program that tests start as a process: one file, because each of the hundred processes of a run would otherwise find, read and
// strip several hundred modules of TypeScript, which is two thirds of what a short command costs.

const cache = join(root, ".cache/program");
const dayMs = 86_400_000;
let written: Promise<string> | undefined;

/** The path of the program, as it is built from the sources of this moment. The first test of a run that asks builds it. */
export function program(): Promise<string> {
  written ??= inCache();
  return written;
}

async function inCache(): Promise<string> {
  const folder = join(cache, keyOfSources());
  const file = join(folder, "meshward.js");
  if (existsSync(file)) return file;
  mkdirSync(cache, { recursive: true });
  const { writeProgram } = await import("../../src/generate/built-file.ts");
  const draft = mkdtempSync(join(cache, "draft-"));
  await writeProgram(join(draft, "meshward.js"));
  try {
    renameSync(draft, folder);
  } catch (error) {
    // Another test was faster, with the same sources.
    if (!existsSync(file)) throw error;
    rmSync(draft, { recursive: true });
  }
  removeOld();
  return file;
}

/** Of all that is in the program: what is below `src/` and `policies/`, and the versions of the packages. */
function keyOfSources(): string {
  const patterns = ["src/**/*.*", ...assetFolders.map((folder) => `policies/${folder}/**/*.*`), "package*.json"];
  const hash = createHash("sha256");
  for (const file of globSync(patterns, { cwd: root }).sort()) {
    const text = readFileSync(join(root, file));
    hash.update(`${file} ${text.length}\n`).update(text);
  }
  return hash.digest("hex").slice(0, 16);
}

/** Those that no test of another run can still be using. */
function removeOld(): void {
  for (const name of globSync("*", { cwd: cache })) {
    const folder = join(cache, name);
    if (Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? 0) > dayMs)
      rmSync(folder, { recursive: true, force: true });
  }
}
