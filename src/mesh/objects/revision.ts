import type { AnyObject } from "../../kube/object.ts";
import type { AllMeshSettings, MeshSettings, RevisionSettings } from "../../view/settings.ts";
import { setting } from "../../view/view.ts";
import { revisionLabel } from "./labels.ts";

/**
 * Whether some control plane of this mesh reads the object. Without the label `istio.io/rev`, every revision does; a label
 * must match a revision exactly, and tags are not resolved (Istio pkg/config/model.go LabelsInRevision, which
 * pilot/pkg/config/kube/crdclient/client.go and pilot/pkg/serviceregistry/ambient/ambientindex.go inRevision use).
 * Relations have the keys of every object that is read by anyone; isReadBy tells which proxies it counts for.
 *
 * An object that is being deleted counts as gone, although it is read until its last finalizer is removed: nobody is asked
 * again then, so nothing may rely on it.
 */
export const isServed = (object: AnyObject, settings: MeshSettings): boolean =>
  object.metadata.deletionTimestamp === undefined && isForServedRevision(object, settings);

/** Whether a control plane has the revision that the object is for. */
export function isForServedRevision({ metadata }: AnyObject, settings: MeshSettings): boolean {
  const revision = metadata.labels[revisionLabel];
  // Read without a declaration: an object whose revision comes or goes counts as changed (engine/counted-otherwise.ts).
  return revision === undefined || (settings as AllMeshSettings).revisions.includes(revision);
}

/**
 * Whether objects can be read by some control planes only. Keys of the `from` end of a relation may depend on it, if every rule
 * that reads the relation declares the setting `revisions` too: they are computed at each look-up.
 */
export const areControlPlanesSeveral = (settings: MeshSettings): boolean =>
  (settings as AllMeshSettings).revisions.length > 1;

/** For the `reads` of what takes RevisionSettings. */
export const revisionReads = [setting("revisions"), setting("tags"), setting("seen")] as const;

/** The same as isForServedRevision in CEL, about a raw `object` and the revisions in `settings`. */
export const isServedInCel =
  "(!has(object.metadata.labels) || !('istio.io/rev' in object.metadata.labels) || object.metadata.labels['istio.io/rev'] in settings.revisions)";

/** The revision of the control plane that configures some proxies; undefined: it is not known, or there is none. */
export type ControlPlane = string | undefined;

/** Whether this control plane reads the object. If it is not known which one it is, any of them may. */
export function isReadBy(object: AnyObject, controlPlane: ControlPlane, settings: MeshSettings): boolean {
  const revision = object.metadata.labels[revisionLabel];
  if (revision === undefined || revision === controlPlane) return true;
  return controlPlane === undefined && isServed(object, settings);
}

/** Whether it is known which control planes there are: from a mesh config, or from an injector. */
export const areRevisionsKnown = ({ seen, revisions }: RevisionSettings): boolean =>
  seen || revisions.some((revision) => revision !== "default");

/** The revision that a value of the label `istio.io/rev` of a namespace, a pod or a Gateway selects; tags are resolved. */
export function revisionNamed(name: string, { revisions, tags }: RevisionSettings): ControlPlane {
  const revision = (Object.hasOwn(tags, name) ? tags[name] : undefined) ?? name;
  return revisions.includes(revision) ? revision : undefined;
}

/**
 * The names of the ConfigMap of a control plane in Istio's namespace, and of the MutatingWebhookConfigurations of its
 * injector and of a tag.
 */
export const objectsOfRevision = (name: string): Readonly<Record<"config" | "injector" | "tag", string>> => ({
  config: name === "default" ? "istio" : `istio-${name}`,
  injector: name === "default" ? "istio-sidecar-injector" : `istio-sidecar-injector-${name}`,
  tag: `istio-revision-tag-${name}`,
});
