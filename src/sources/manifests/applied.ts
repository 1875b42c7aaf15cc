import { isDeepStrictEqual } from "node:util";
import { keyOf } from "../../kube/identity.ts";
import { type AnyObject, asInEffect, lastApplied } from "../../kube/object.ts";
import { isObject, member } from "../../kube/read.ts";
import type { Mesh } from "../../view/view.ts";
import type { FileMesh, FileObject } from "./file-mesh.ts";

/**
 * The objects of files as the mesh would contain them after kubectl apply. Fields that only the API server writes (the
 * creation and deletion timestamps) are those of the stored object. An object that does not change is the stored object itself.
 */
export function appliedTo(mesh: Mesh, files: FileMesh): FileMesh {
  const entries = new Map<FileObject, FileObject>();
  for (const entry of files.objects) entries.set(entry, { ...entry, object: stored(entry.object, mesh) });
  const entryOf = (entry: FileObject) => entries.get(entry) as FileObject;
  const replaced = files.replaced.map(({ by, earlier }) => ({ by: entryOf(by), earlier: entryOf(earlier) }));
  return { ...files, objects: [...entries.values()], replaced };
}

/** One object as the mesh would contain it after kubectl apply, see appliedTo. */
export function stored(object: AnyObject, mesh: Mesh): AnyObject {
  const there = mesh.find(object.kind, keyOf(object));
  if (there === undefined || there.implied) return object;
  const { uid, resourceVersion, creationTimestamp, deletionTimestamp } = there.metadata;
  const labels = merged("labels", object, there);
  const annotations = merged("annotations", object, there);
  const own = { uid, resourceVersion, creationTimestamp, deletionTimestamp, labels, annotations };
  const status = "status" in there ? { status: there.status } : {};
  const applied = { ...object, ...status, metadata: { ...object.metadata, ...own } } as AnyObject;
  return isDeepStrictEqual(applied, there) ? there : asInEffect(applied);
}

/**
 * Merges maps as kubectl apply does: removes entries that it applied before and that are missing now, and keeps entries
 * that something else set. An object without a uid was never stored; it is a manifest itself and is replaced completely.
 */
function merged(
  field: "labels" | "annotations",
  object: AnyObject,
  there: AnyObject,
): Readonly<Record<string, string>> {
  const { uid, [field]: old } = there.metadata;
  const now = object.metadata[field];
  if (uid === undefined) return now;
  const before = appliedLast(there, field);
  const kept = Object.entries(old).filter(([key]) => !Object.hasOwn(before, key));
  return { ...Object.fromEntries(kept), ...now };
}

function appliedLast({ metadata }: AnyObject, field: "labels" | "annotations"): object {
  try {
    const applied = member(member(JSON.parse(metadata.annotations[lastApplied] ?? "null"), "metadata"), field);
    return isObject(applied) ? applied : {};
  } catch {
    return {};
  }
}
