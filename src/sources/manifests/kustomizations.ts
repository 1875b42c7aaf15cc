import { dirname, resolve } from "node:path";

/** The file names that kustomize looks for in a folder. */
export const kustomizationNames: readonly string[] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/** Absolute paths of the files that a kustomization applies as patches, which are parts of objects. */
export function patchFilesOf(kustomization: unknown, file: string): string[] {
  const folder = dirname(resolve(file));
  const patches = [
    ...listAt(kustomization, "patches").map((patch) => fieldOf(patch, "path")),
    ...listAt(kustomization, "patchesJson6902").map((patch) => fieldOf(patch, "path")),
    // A text of several lines is an inline patch, not a file name.
    ...listAt(kustomization, "patchesStrategicMerge").filter((patch) => !String(patch).includes("\n")),
  ];
  return patches
    .filter((patch): patch is string => typeof patch === "string" && patch !== "")
    .map((patch) => resolve(folder, patch));
}

function listAt(value: unknown, key: string): readonly unknown[] {
  const list = fieldOf(value, key);
  return Array.isArray(list) ? list : [];
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}
