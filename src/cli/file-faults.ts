import { keyOf } from "../kube/identity.ts";
import type { Invalid } from "../kube/invalid.ts";
import { type AnyObject, readObject } from "../kube/object.ts";
import { refusedByIstiod } from "../istiod-validation/refusals.ts";
import type { Schemas } from "../schemas/schemas.ts";
import type { FileMesh, FileObject } from "../sources/manifests/file-mesh.ts";

/** Files with what the API server would reject in their objects. */
export interface CheckedFiles {
  readonly files: FileMesh;
  /** Objects of kinds that no rule reads, as far as the API server would reject them. */
  readonly unread: readonly FileObject[];
}

/** Checks all manifests against the definitions of their kinds, and as istiod would validate them. */
export function withFaults(files: FileMesh, schemas: Schemas, defaultNamespace: string): CheckedFiles {
  const entries = new Map<FileObject, FileObject>();
  for (const entry of files.objects) {
    const invalid = faultsOf(entry, schemas);
    if (invalid.length > 0) entries.set(entry, { ...entry, object: { ...entry.object, invalid } });
  }
  const unread = files.others.flatMap((manifest) => {
    const object = readHead(manifest.raw, defaultNamespace);
    const invalid = schemas.faultsOf(manifest.raw);
    return invalid.length === 0 ? [] : [{ manifest, object: { ...object, invalid } }];
  });
  if (entries.size === 0) return { files, unread };
  for (const [{ object }, checked] of entries)
    if (files.mesh.find(object.kind, keyOf(object)) === object) files.mesh.set(checked.object);
  const entryOf = (entry: FileObject) => entries.get(entry) ?? entry;
  const replaced = files.replaced.map(({ by, earlier }) => ({ by: entryOf(by), earlier: entryOf(earlier) }));
  return { files: { ...files, objects: files.objects.map(entryOf), replaced }, unread };
}

/** A value of the wrong type that the reader found too is only reported by object-malformed. */
function faultsOf({ object, manifest }: FileObject, schemas: Schemas): readonly Invalid[] {
  const known = new Set((object.malformed ?? []).map(({ at }) => at.join("\n")));
  const faults = schemas.faultsOf(manifest.raw);
  // What the definition does not allow is not validated further.
  const refused = faults.some(({ atMost }) => atMost === undefined) ? [] : refusedByIstiod(manifest.raw);
  return [...faults, ...refused].filter(({ at }) => !known.has(at.join("\n")));
}

/** The names and metadata of an object. Workloads are the kind that has objects of many kinds of the API server. */
function readHead({ apiVersion, kind, metadata }: Record<string, unknown>, defaultNamespace: string): AnyObject {
  return readObject("Workload", { apiVersion, kind, metadata }, defaultNamespace);
}
