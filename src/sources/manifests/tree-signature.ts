import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";

/**
 * A text that changes when a file below a path is added, removed, replaced or written. Links are followed, because a mounted
 * ConfigMap is a link that is exchanged. It costs one `stat` for each file and reads none; what cannot be read is part of it.
 */
export async function treeSignature(path: string): Promise<string> {
  const lines: string[] = [];
  await add(path, new Set(), lines);
  return lines.join("\n");
}

/** The same for several paths. */
export const treeSignatures = async (paths: readonly string[]): Promise<string> =>
  (await Promise.all(paths.map(treeSignature))).join("\n");

async function add(path: string, above: ReadonlySet<string>, lines: string[]): Promise<void> {
  try {
    const found = await stat(path, { bigint: true });
    if (!found.isDirectory()) {
      lines.push(`${path} ${found.ino} ${found.size} ${found.mtimeNs}`);
      return;
    }
    const real = await realpath(path);
    lines.push(`${path} ${real}`);
    // A circle of links ends here.
    if (above.has(real)) return;
    const names = (await readdir(path)).sort();
    for (const name of names) if (name !== ".git") await add(join(path, name), new Set([...above, real]), lines);
  } catch (error) {
    lines.push(`${path} ${error instanceof Error && "code" in error ? String(error.code) : String(error)}`);
  }
}
