import { namespaceKey } from "../../kube/identity.ts";
import { impliedNamespace, type ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import type { Mesh } from "../../view/view.ts";
import { index, relation } from "../../view/view.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { dataplaneMode, injectionLabel, revisionLabel, useWaypoint } from "../objects/labels.ts";

export type Namespace = ObjectOf<"Namespace">;

/** The Namespace of this name in the mesh, or an implied Namespace with unknown labels. */
export function namespaceIn(mesh: Mesh, name: string): Namespace {
  const found = mesh.find("Namespace", namespaceKey(name));
  return found?.kind === "Namespace" ? found : impliedNamespace(name);
}

/** The namespaces that the API server creates. */
const ofKubernetes: readonly string[] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/**
 * The namespaces that every cluster with a mesh has, and that files of applications do not show: those of Kubernetes and that
 * of the control plane. None where all Namespaces are known.
 */
export const namespacesNotShown = (mesh: NamespacesKnown): readonly string[] =>
  mesh.knowsAll("Namespace") ? [] : [mesh.settings.rootNamespace, ...ofKubernetes];

interface NamespacesKnown {
  readonly settings: Pick<MeshSettings, "rootNamespace">;
  knowsAll(kind: "Namespace"): boolean;
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

/** Whether no label differs that decides about the data plane, the control plane or the waypoint of a namespace. */
export const hasSameMembership = (a: Namespace, b: Namespace): boolean =>
  a === b ||
  (a.metadata.name === b.metadata.name &&
    a.implied === b.implied &&
    labelsOfMembership.every((label) => a.metadata.labels[label] === b.metadata.labels[label]));
const labelsOfMembership = [dataplaneMode, injectionLabel, revisionLabel, useWaypoint];
