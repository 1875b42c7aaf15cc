import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeBuiltFile } from "./built-file.ts";
import { root } from "./files.ts";

// Writes executables that need no Node: Node's own, with the built file in them (nodejs.org/api/single-executable-applications).
// `npm run executable` makes one for each Node that npm has installed; an argument such as `linux-arm64=/path/to/node` makes
// one from another Node of the same version.

/** Marks the place in Node's executable (nodejs/node, src/node_sea.cc). */
const sentinelFuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";
const platforms = ["linux-x64", "linux-arm64"] as const;

const executablePath = (folder: string, platform: string): string => join(folder, `meshward-${platform}`);

/**
 * Writes `meshward-<platform>` into a folder that contains the built file. `node` is an executable of the version that runs
 * this, because another one does not understand the blob.
 */
export function writeExecutable(folder: string, platform: string, node: string): string {
  const path = executablePath(folder, platform);
  copyFileSync(node, path);
  chmodSync(path, 0o755);
  const work = mkdtempSync(join(tmpdir(), "meshward-executable-"));
  try {
    const blob = writeBlob(folder, work);
    run(postject, path, "NODE_SEA_BLOB", blob, "--sentinel-fuse", sentinelFuse);
  } finally {
    rmSync(work, { recursive: true });
  }
  return path;
}

/** The package has no types, and prints what a user need not know, such as notes of ELF that it does not understand. */
const postject = join(root, "node_modules/postject/dist/cli.js");

/** Throws an Error with what the program printed if it fails. */
const run = (...args: readonly string[]): void => void execFileSync(process.execPath, args, { stdio: "pipe" });

/** The built file in the form that Node looks for in its own executable. */
function writeBlob(folder: string, work: string): string {
  const main = join(work, "main.js");
  const output = join(work, "blob");
  const config = join(work, "config.json");
  // The line for the shell is no JavaScript inside of a function.
  writeFileSync(main, readFileSync(join(folder, "meshward.js"), "utf8").replace(/^#!.*\n/, "\n"));
  // Compiled code is not portable between processors.
  const fields = { main, output, disableExperimentalSEAWarning: true, useCodeCache: false, useSnapshot: false };
  writeFileSync(config, JSON.stringify({ ...fields, execArgv: ["--disable-sigusr1"] }));
  run("--experimental-sea-config", config);
  return output;
}

/** The Node that npm has installed for a platform, if any. */
export const installedNode = (platform: string): string | undefined => {
  const path = join(root, "node_modules", `node-${platform}`, "bin", "node");
  return existsSync(path) ? path : undefined;
};

if (import.meta.main) {
  const given = new Map(process.argv.slice(2).map((argument) => argument.split("=", 2) as [string, string]));
  const folder = join(root, "dist");
  await writeBuiltFile(folder);
  for (const platform of new Set([...platforms, ...given.keys()])) {
    const node = given.get(platform) ?? installedNode(platform);
    if (node === undefined) process.stderr.write(`no executable for ${platform}: npm has no Node for it here\n`);
    else {
      const path = writeExecutable(folder, platform, node);
      process.stdout.write(`wrote ${path} (${Math.round(statSync(path).size / 1e6)} MB)\n`);
    }
  }
}
