import { sep } from "node:path";
import { identityOf } from "../../kube/identity.ts";
import type { FileMesh, FileObject } from "./file-mesh.ts";

/** One of several places that say the same object, such as `overlays/dev` beside `overlays/prod`: one of each identity. */
export type Environment = readonly FileObject[];

/**
 * The places of which something is replaced by a later one, with all that they hold. Each is meant for itself: its
 * objects go together, and with what is nowhere else.
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

/** The folder, or the file, where the way to one file parts from the way to the other. */
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
