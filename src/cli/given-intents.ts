import { keyOf } from "../kube/identity.ts";
import { type AnyObject, readAny } from "../kube/object.ts";
import type { FileMesh, FileObject } from "../sources/manifests/file-mesh.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import { documentsOf, isIntent, type PolicyOptions } from "./policy-options.ts";

/** The MeshwardIntents among the documents of `--policies`. Of two with the same name, the first. */
function intentsIn(documents: readonly Manifest[]): readonly FileObject[] {
  const found = new Map<string, FileObject>();
  for (const manifest of documents) {
    const object = isIntent(manifest) ? readAny(manifest.raw) : undefined;
    if (object !== undefined && !found.has(keyOf(object))) found.set(keyOf(object), { object, manifest });
  }
  return [...found.values()];
}

export const objectsIn = (documents: readonly Manifest[]): readonly AnyObject[] =>
  intentsIn(documents).map(({ object }) => object);

/**
 * Adds the MeshwardIntents of `--policies` to a mesh, where they are objects like its own, and returns them. One of the mesh counts
 * instead of one of the same name in `--policies`.
 */
export async function giveIntents(
  { mesh }: Pick<FileMesh, "mesh">,
  options: Pick<PolicyOptions, "policies">,
): Promise<readonly FileObject[]> {
  const { documents } = await documentsOf(options);
  const added = intentsIn(documents).filter(({ object }) => mesh.find(object.kind, keyOf(object)) === undefined);
  for (const { object } of added) mesh.set(object);
  return added;
}
