import { resolve, sep } from "node:path";
import { idOf, identityOf } from "../../kube/identity.ts";
import { counted } from "../../text/phrases.ts";
import type { FileMesh, FileObject } from "./file-mesh.ts";

/** One of several folders, or files, that define the same object, such as `overlays/dev` and `overlays/prod`. */
export interface Environment {
  /** The path of the folder or file. */
  readonly name: string;
  /** Every object in it once; of several manifests for one object the last. */
  readonly objects: readonly FileObject[];
}

/**
 * The environments of a set of files. The objects of one environment belong together, with the objects that no environment
 * contains.
 */
export function environmentsOf(files: FileMesh): readonly Environment[] {
  const roots = rootsOf(files);
  const members = Map.groupBy(roots.size === 0 ? [] : files.objects, ({ manifest }) => rootAbove(roots, manifest.file));
  return leavesOf(members.keys()).map((name) => ({ name, objects: lastOf(inEnvironment(members, name)) }));
}

/** An environment before and after a change. */
export interface ChangedEnvironment extends Environment {
  readonly base: readonly FileObject[];
}

export interface ChangedEnvironments {
  /** Empty if neither side defines an object twice. */
  readonly environments: readonly ChangedEnvironment[];
  /** What no environment contains, on both sides; of several manifests for one object the last. */
  readonly shared: Pick<ChangedEnvironment, "objects" | "base">;
}

/**
 * The environments of two states of a mesh in files. Paths need not have the same beginning: `new/overlays/prod` is the
 * environment `main/overlays/prod`. An environment that only one side contains is empty on the other.
 */
export function changedEnvironments(files: FileMesh, base: FileMesh): ChangedEnvironments {
  const [own, others] = [rootsOf(files), rootsOf(base)];
  const all = new Set([...own, ...others]);
  const nameOf = (path: string): string | undefined => rootAbove(own, path) ?? likest(own, path);
  const placeOf = (path: string): string | undefined => {
    const known = nameOf(path);
    const other = known === undefined ? (rootAbove(others, path) ?? likest(others, path)) : undefined;
    return known ?? (other === undefined ? undefined : (nameOf(other) ?? other));
  };
  const places = new Map<string, string | undefined>();
  const placed = ({ objects }: FileMesh) =>
    Map.groupBy(objects, ({ manifest: { file } }) => {
      if (all.size > 0 && !places.has(file)) places.set(file, placeOf(file));
      return places.get(file);
    });
  const [after, before] = [placed(files), placed(base)];
  const environments = leavesOf([...after.keys(), ...before.keys()]).map((name) => ({
    name,
    objects: lastOf(inEnvironment(after, name)),
    base: lastOf(inEnvironment(before, name)),
  }));
  const shared = { objects: lastOf(after.get(undefined) ?? []), base: lastOf(before.get(undefined) ?? []) };
  return { environments, shared };
}

/** That several files define an object, for a message; undefined if none is. */
export function severalDefinitions({ replaced }: FileMesh): string | undefined {
  const apart = replaced.filter(({ by, earlier }) => by.manifest.file !== earlier.manifest.file);
  const [first] = apart;
  if (first === undefined) return undefined;
  const { by, earlier } = first;
  const more = new Set(apart.map(({ by: { object } }) => identityOf(object))).size - 1;
  const others = more === 0 ? "" : `, and ${counted(more, "more object")} like this`;
  return `${idOf(earlier.object)} is defined in ${earlier.manifest.file} and in ${by.manifest.file}${others}`;
}

type Members = ReadonlyMap<string | undefined, readonly FileObject[]>;

const isBelow = (path: string, folder: string): boolean => path.startsWith(folder + sep);

/** Folders in which no other environment is. */
function leavesOf(roots: Iterable<string | undefined>): readonly string[] {
  const names = [...new Set(roots)].filter((root) => root !== undefined).sort();
  // Everything below a folder sorts behind it, but not always directly behind it.
  const above = new Set(names.flatMap((name) => foldersAbove(name)));
  return names.filter((name) => !above.has(name));
}

/** The objects of an environment, and those of folders above it that are not of another one. */
const inEnvironment = (members: Members, name: string): readonly FileObject[] =>
  [...members].flatMap(([root, entries]) =>
    root !== undefined && (root === name || isBelow(name, root)) ? entries : [],
  );

function lastOf(entries: readonly FileObject[]): readonly FileObject[] {
  return [...new Map(entries.map((entry) => [identityOf(entry.object), entry])).values()];
}

/** For each object with several manifests, the paths in which the paths of these manifests part. */
function rootsOf({ objects, replaced }: FileMesh): ReadonlySet<string> {
  const repeated = new Set(replaced.map(({ by }) => identityOf(by.object)));
  const roots = new Set<string>();
  if (repeated.size === 0) return roots;
  const filesOf = new Map<string, Set<string>>();
  for (const { object, manifest } of objects) {
    const identity = identityOf(object);
    if (!repeated.has(identity)) continue;
    filesOf.set(identity, (filesOf.get(identity) ?? new Set()).add(manifest.file));
  }
  for (const files of filesOf.values()) {
    const sorted = [...files].map((file) => file.split(sep)).sort(bySteps);
    // In this order, each path with all that is below it is one range, so neighbours show all of them.
    for (const [i, steps] of sorted.entries()) {
      const next = sorted[i + 1];
      if (next === undefined) continue;
      const parting = steps.findIndex((step, at) => step !== next[at]);
      for (const path of [steps, next]) roots.add(path.slice(0, parting + 1).join(sep));
    }
  }
  return roots;
}

function bySteps(some: readonly string[], others: readonly string[]): number {
  const at = some.findIndex((step, i) => step !== others[i]);
  return at === -1 ? -1 : (some[at] ?? "") < (others[at] ?? "") ? -1 : 1;
}

function foldersAbove(path: string): readonly string[] {
  const steps = path.split(sep);
  return steps.slice(1).map((_, i) => steps.slice(0, i + 1).join(sep));
}

/** The deepest of these folders and files that contains a file. */
const rootAbove = (roots: ReadonlySet<string>, file: string): string | undefined =>
  [...foldersAbove(file), file].findLast((path) => roots.has(path));

/** The only root of which most of the last steps are part of a path; undefined if there is none, or several. */
function likest(roots: ReadonlySet<string>, path: string): string | undefined {
  const steps = resolve(path).split(sep);
  let [best, most]: [string | undefined, number] = [undefined, 0];
  for (const root of roots) {
    const count = sharedSteps(resolve(root).split(sep), steps);
    if (count > most) [best, most] = [root, count];
    else if (count === most) best = undefined;
  }
  return best;
}

/** How many of the last steps of one path are in the other, side by side. */
function sharedSteps(root: readonly string[], path: readonly string[]): number {
  let most = 0;
  for (let end = path.length; end > 0; end--) {
    let count = 0;
    while (count < end && count < root.length && root.at(-1 - count) === path[end - 1 - count]) count++;
    most = Math.max(most, count);
  }
  return most;
}
