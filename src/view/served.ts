import { allKinds } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { revisionLabel } from "./control-planes.ts";
import type { AllMeshSettings } from "./settings.ts";
import type { Mesh } from "./view.ts";

/** The number of objects that are visited before others get a turn. */
const visitedAtOnce = 5_000;

/**
 * The objects that control planes begin or cease to read, because the revision that their label names comes or goes. An object
 * that nobody reads has no keys, so these count as changed although their content is the same. Yields in between.
 */
export function* newlyServed(mesh: Mesh, settings: AllMeshSettings): Generator<void, readonly AnyObject[]> {
  const differing = new Set(mesh.settings.revisions).symmetricDifference(new Set(settings.revisions));
  const found: AnyObject[] = [];
  if (differing.size === 0) return found;
  let visited = 0;
  for (const kind of allKinds)
    for (const object of mesh.all(kind)) {
      const revision = object.metadata.labels[revisionLabel];
      if (revision !== undefined && differing.has(revision)) found.push(object);
      if (++visited % visitedAtOnce === 0) yield;
    }
  return found;
}
