import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * The folders of `policies/` that are part of Meshward: read from the checkout here, embedded as strings in the built
 * file.
 */
export const assetFolders = ["profiles", "rules", "tour"] as const;
export type AssetFolder = (typeof assetFolders)[number];

const policies = fileURLToPath(new URL("../../policies/", import.meta.url));

/**
 * The paths of all YAML, JSON and Markdown files below one folder of `policies/`, at any depth, sorted, with `/` on every
 * platform: `profiles/baseline.yaml`. Each is a path for {@link asset}.
 */
export function assetNames(folder: AssetFolder): readonly string[] {
  let names = known.get(folder);
  if (names === undefined) {
    const paths = globSync(`${folder}/**/*.{yaml,yml,json,md}`, { cwd: policies });
    known.set(folder, (names = Object.freeze(paths.map((path) => path.replaceAll("\\", "/")).sort())));
  }
  return names;
}
/** As in the built file, they are those of when the process first asked: to look for them again takes longer than to read a file. */
const known = new Map<AssetFolder, readonly string[]>();

/**
 * The text of one file that is part of Meshward, by its path below `policies/`.
 * Throws an Error that names the path if there is no such file.
 */
export function asset(path: string): string {
  const folder = assetFolders.find((one) => path.startsWith(`${one}/`));
  if (folder === undefined || !assetNames(folder).includes(path)) {
    throw new Error(`there is no policies/${path} in this installation of Meshward`);
  }
  return readFileSync(`${policies}/${path}`, "utf8");
}
