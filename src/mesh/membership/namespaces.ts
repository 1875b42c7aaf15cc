import { namespaceKey } from "../../kube/identity.ts";
import { impliedNamespace, type ObjectOf } from "../../kube/object.ts";
import type { Mesh } from "../../view/view.ts";

export type Namespace = ObjectOf<"Namespace">;

/** A namespace as the mesh shows it; one that it does not show is implied, with unknown labels. */
export function namespaceIn(mesh: Mesh, name: string): Namespace {
  const found = mesh.find("Namespace", namespaceKey(name));
  return found?.kind === "Namespace" ? found : impliedNamespace(name);
}

/** Nothing is weakened in a namespace that goes: its contents are deleted in any order. */
export const isTerminating = ({ metadata, status }: Namespace): boolean =>
  metadata.deletionTimestamp !== undefined || status.phase === "Terminating";
