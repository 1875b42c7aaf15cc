import { dirname, resolve } from "node:path";

/** The file in which chainsaw finds a test. */
export const chainsawTest = /^chainsaw-test\.(?:yaml|yml)$/;

/** Expectations of chainsaw and kuttl contain only the fields that are compared. */
export const expectation = /(?:^|-)assert\.(?:yaml|yml)$|^\d+-errors?\.(?:yaml|yml)$/i;

export const ofTestTool = "partial manifest of a test tool (chainsaw, kuttl)";

/** The operations of a test whose files name fields that are compared or changed, and are no objects to apply. */
const partial: ReadonlySet<string> = new Set(["assert", "error", "patch", "delete"]);

/** Absolute paths of the files of such operations, anywhere in a test of chainsaw. Patterns are left out. */
export function partialFilesOf(test: unknown, file: string): readonly string[] {
  const folder = dirname(resolve(file));
  const found: string[] = [];
  const open: unknown[] = [test];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value !== "object" || value === null) continue;
    for (const [key, inner] of Object.entries(value)) {
      const named: unknown = partial.has(key) && typeof inner === "object" && inner !== null ? inner.file : undefined;
      if (typeof named === "string" && !/[*?[]/.test(named)) found.push(resolve(folder, named));
      open.push(inner);
    }
  }
  return found;
}
