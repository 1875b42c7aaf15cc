import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { billOfMaterialsFile } from "./bill-of-materials.ts";
import { writeBuiltFile } from "./built-file.ts";
import { root } from "./files.ts";
import { noticesFile } from "./third-party-notices.ts";

/** What a user of the package gets: one file and its papers. Nothing is installed with it, because it contains all of it. */
const builtFiles = ["meshward.js", billOfMaterialsFile, noticesFile] as const;
const papers = ["README.md", "CHANGELOG.md", "LICENSE"] as const;

/** Writes the folder that `npm pack` and `npm publish` take, from a folder with the built file. */
export function writeNpmPackage(built: string, folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of builtFiles) copyFileSync(join(built, name), join(folder, name));
  for (const name of papers) copyFileSync(join(root, name), join(folder, name));
  const { name, version, description, homepage, license, engines } = packageJson;
  const published = {
    ...{ name, version, description, homepage, license, engines },
    repository: { type: "git", url: `git+${homepage}.git` },
    bin: { meshward: "meshward.js" },
    files: [...builtFiles, "CHANGELOG.md"],
  };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(published, null, 2)}\n`);
}

if (import.meta.main) {
  const built = join(root, "dist");
  await writeBuiltFile(built);
  writeNpmPackage(built, join(built, "npm"));
  process.stdout.write(`wrote ${join(built, "npm")}: npm pack and npm publish take this folder\n`);
}
