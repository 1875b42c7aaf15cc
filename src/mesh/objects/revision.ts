import type { AnyObject } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { revisionLabel } from "./labels.ts";

/**
 * Whether a control plane of this mesh reads the object. Without the label `istio.io/rev`, every revision does; a label
 * must match a revision exactly, and tags are not resolved (Istio pkg/config/model.go LabelsInRevision).
 */
export function isServed({ metadata }: AnyObject, { revisions }: MeshSettings): boolean {
  const revision = metadata.labels[revisionLabel];
  return revision === undefined || revisions.includes(revision);
}
