import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { readDocuments } from "./documents.ts";

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

/** How many folders above a file may have the kustomization that names it as a patch: `base/patches/web/gateway.yaml`. */
const levelsAbove = 3;

/** Absolute paths of the files that kustomizations in a folder and above it apply as patches. */
export function patchFilesAbove(folder: string): readonly string[] {
  let current = resolve(folder);
  const found: string[] = [];
  for (let level = 0; level < levelsAbove; level++) {
    found.push(...patchFilesOf(kustomizationIn(current), join(current, kustomizationNames[0] ?? "")));
    current = dirname(current);
  }
  return found;
}

/** What a kustomization is made of, with everything that it refers to. */
export interface Reached {
  /** Real paths of the files that it or one of its bases takes as resources. */
  readonly files: ReadonlySet<string>;
  /** Real paths of the folders of its bases and components. */
  readonly folders: ReadonlySet<string>;
  /** Something that is not in the file system: kustomize would fetch it. */
  readonly remote: string | undefined;
}

/** Follows the resources of the kustomization in a folder. */
export function reachedFrom(folder: string): Reached {
  const files = new Set<string>();
  const folders = new Set<string>();
  let remote: string | undefined;
  const open = [folder];
  while (open.length > 0) {
    const current = open.pop() as string;
    for (const entry of entriesOf(current)) {
      const path = resolve(current, entry);
      const found = inspected(path);
      if (found === undefined) remote ??= isRemote(entry) ? entry : undefined;
      else if (!found.isFolder) files.add(found.real);
      else if (!folders.has(found.real)) {
        folders.add(found.real);
        open.push(found.real);
      }
    }
  }
  return { files, folders, remote };
}

const isRemote = (entry: string): boolean =>
  /:\/\/|^git@|^git::|\?ref=|\/\/|^(?:www\.)?(?:github\.com|gitlab\.com|bitbucket\.org)\//.test(entry);

function inspected(path: string): { readonly real: string; readonly isFolder: boolean } | undefined {
  try {
    return { real: realpathSync.native(path), isFolder: statSync(path).isDirectory() };
  } catch {
    return undefined;
  }
}

function entriesOf(folder: string): readonly string[] {
  const kustomization = kustomizationIn(folder);
  return ["resources", "bases", "components"].flatMap((field) =>
    listAt(kustomization, field).filter((entry): entry is string => typeof entry === "string"),
  );
}

/** The path and the text of the kustomization of a folder; undefined if there is none, or it cannot be read. */
export function kustomizationFileIn(folder: string): { readonly path: string; readonly text: string } | undefined {
  for (const name of kustomizationNames) {
    const path = join(folder, name);
    // Nearly every folder has none, and an exception for each name takes longer than to read the file that was asked for.
    if (!existsSync(path)) continue;
    try {
      return { path, text: readFileSync(path, "utf8") };
    } catch {
      // The next name.
    }
  }
  return undefined;
}

function kustomizationIn(folder: string): unknown {
  const found = kustomizationFileIn(folder);
  return found === undefined ? undefined : readDocuments(found.text).documents[0]?.value;
}

/** A component is a part of kustomizations and cannot be built alone. */
export const isComponent = (folder: string): boolean => fieldOf(kustomizationIn(folder), "kind") === "Component";

export function listAt(value: unknown, key: string): readonly unknown[] {
  const list = fieldOf(value, key);
  return Array.isArray(list) ? list : [];
}

export function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}
