import { createHash } from "node:crypto";
import { globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { assetFolders } from "../../src/config/assets.ts";
import { root } from "../../src/generate/files.ts";

// The program that tests start as a process: one file, because each of the hundred processes of a run would otherwise find, read and
// strip several hundred modules of TypeScript, which is two thirds of what a short command costs. It is the built file, which other
// tests judge, package and put into an executable: all take what one of them built.

const cache = join(root, ".cache/built");
const dayMs = 86_400_000;
let written: Promise<string> | undefined;

/** The folder of the built file and its papers, from the sources of this moment, to read. The first test of a run that asks builds it. */
export function builtFolder(): Promise<string> {
  written ??= inCache();
  return written;
}

/** The path of the built file in that folder. */
export const program = async (): Promise<string> => join(await builtFolder(), "meshward.js");

async function inCache(): Promise<string> {
  const folder = join(cache, keyOfSources());
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const { writeBuiltFile } = await import("../../src/generate/built-file.ts");
  const draft = mkdtempSync(join(cache, "draft-"));
  await writeBuiltFile(draft);
  try {
    renameSync(draft, folder);
  } catch (error) {
    // Another test was faster, with the same sources.
    if (!existsSync(folder)) throw error;
    rmSync(draft, { recursive: true });
  }
  removeOld();
  return folder;
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
