import { sep } from "node:path";
import { identityOf } from "../../kube/identity.ts";
import type { FileMesh, FileObject } from "./file-mesh.ts";

/**
 * One of several folders that define the same object, such as `overlays/dev` and `overlays/prod`. Each object occurs
 * once.
 */
export type Environment = readonly FileObject[];

/**
 * The environments: folders with an object that a later folder defines again, with all objects in them. The objects of
 * one environment belong together, with the objects that no environment contains.
 */
export function environmentsOf({ objects, replaced }: FileMesh): readonly Environment[] {
  const roots = new Set(replaced.flatMap(({ earlier, by }) => rootOf(earlier.manifest.file, by.manifest.file) ?? []));
  const environments = new Map<string, Map<string, FileObject>>();
  for (const entry of roots.size === 0 ? [] : objects) {
    const root = deepestOf(roots, entry.manifest.file);
    if (root === undefined) continue;
    const members = environments.get(root) ?? new Map<string, FileObject>();
    environments.set(root, members.set(identityOf(entry.object), entry));
  }
  return [...environments.values()].map((members) => [...members.values()]);
}

/** The first folder, or the file itself, in which the path of one file differs from the path of the other. */
function rootOf(file: string, other: string): string | undefined {
  if (file === other) return undefined;
  const [steps, others] = [file.split(sep), other.split(sep)];
  const parting = steps.findIndex((step, i) => step !== others[i]);
  return steps.slice(0, parting + 1).join(sep);
}

function deepestOf(roots: ReadonlySet<string>, file: string): string | undefined {
  for (let path = file; ; path = path.slice(0, path.lastIndexOf(sep))) {
    if (roots.has(path)) return path;
    if (!path.includes(sep)) return undefined;
  }
}
