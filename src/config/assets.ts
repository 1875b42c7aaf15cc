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
  const paths = globSync(`${folder}/**/*.{yaml,yml,json,md}`, { cwd: policies });
  return paths.map((path) => path.replaceAll("\\", "/")).sort();
}

/**
 * The text of one file that is part of Meshward, by its path below `policies/`.
 * Throws an Error that names the path if there is no such file.
 */
export function asset(path: string): string {
  if (!assetFolders.some((folder) => assetNames(folder).includes(path))) {
    throw new Error(`there is no policies/${path} in this installation of Meshward`);
  }
  return readFileSync(`${policies}/${path}`, "utf8");
}
