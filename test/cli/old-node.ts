import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };

/**
 * A Node of this machine that is older than what Meshward needs: the one that runs npm, or any in PATH. Undefined where
 * there is none.
 */
export function oldNode(): { readonly path: string; readonly version: string } | undefined {
  const named = process.platform === "win32" ? "node.exe" : "node";
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const candidates = [process.env["npm_node_execpath"] ?? "", ...folders.map((folder) => join(folder, named))];
  for (const path of new Set(candidates.filter((candidate) => existsSync(candidate)))) {
    const version = spawnSync(path, ["--version"], { encoding: "utf8" }).stdout.trim();
    if (isOlder(version.slice(1))) return { path, version };
  }
  return undefined;
}

const isOlder = (version: string): boolean =>
  version !== "" && version.localeCompare(packageJson.engines.node.slice(2), "en", { numeric: true }) < 0;
