import { namespaceKey } from "../../kube/identity.ts";
import { impliedNamespace, type ObjectOf } from "../../kube/object.ts";
import type { Mesh } from "../../view/view.ts";
import { index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";

export type Namespace = ObjectOf<"Namespace">;

/** The Namespace of this name in the mesh, or an implied Namespace with unknown labels. */
export function namespaceIn(mesh: Mesh, name: string): Namespace {
  const found = mesh.find("Namespace", namespaceKey(name));
  return found?.kind === "Namespace" ? found : impliedNamespace(name);
}

/** Whether a namespace is being deleted. Its contents are deleted in any order, so nothing counts as weakened there. */
export const isTerminating = ({ metadata, status }: Namespace): boolean =>
  metadata.deletionTimestamp !== undefined || status.phase === "Terminating";

/** A namespace and the root namespace, whose policies also apply in it. Mesh-wide facts are facts of the root namespace. */
export const rootOfNamespace = relation(
  "rootOfNamespace",
  index("Namespace", (_, { rootNamespace }) => [rootNamespace], ["rootNamespace"]),
  namespaceByName,
);
