import { hasEqualMembers, isEqual } from "../kube/equal.ts";
import { keyOf } from "../kube/identity.ts";
import { type KeptFields, nothingKept } from "../kube/kept-fields.ts";
import { type Kind, kindOf } from "../kube/kinds.ts";
import { type AnyObject, annotationsWithoutLastApplied, asInEffect, lastApplied, readAny } from "../kube/object.ts";
import { isObject, member } from "../kube/read.ts";
import { withMeshConfigFaults } from "../istiod-validation/mesh-config.ts";
import { quoted } from "../text/printable.ts";
import type { Change } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";
import type { AdmissionRequest } from "./review.ts";

/**
 * The result of reading a request: a change to evaluate; a request that no rule applies to (`unjudged` is the reason, and
 * `warning` informs the user if necessary); or a request that cannot be evaluated.
 */
export type ChangeReading =
  | { readonly change: Change }
  | { readonly unjudged: string; readonly warning?: string }
  | { readonly problem: string };

/** Finds an object of a view by kind and key. */
type Known = Pick<Mesh, "find">;

/**
 * Reads the change of a request. Never throws. Subresources need no special case: an update through `status` that changes
 * labels is a change. With `known`, an old object that the view already contains is not read again.
 */
export function readChange(request: AdmissionRequest, known?: Known, keep: KeptFields = nothingKept): ChangeReading {
  const { group, version, kind: originKind } = request.kind;
  const kind = kindOf(group === "" ? version : `${group}/${version}`, originKind);
  if (kind === undefined) return { unjudged: "no rule reads this kind", warning: unknownKind(request) };
  const wanted = missingPart(request);
  if (wanted !== undefined) return { problem: `request.${wanted} is missing from this ${request.operation}` };
  const end = endOf(request);
  return end === undefined ? changeOf(request, { kind, known, keep }) : { unjudged: end };
}

interface Reader {
  readonly kind: Kind;
  readonly known: Known | undefined;
  readonly keep: KeptFields;
}

function changeOf(request: AdmissionRequest, reader: Reader): ChangeReading {
  const { kind, keep } = reader;
  const now = request.operation === "DELETE" ? undefined : read(request, request.object, keep);
  const old = request.operation === "CREATE" ? undefined : oldObjectOf(request, now, reader);
  const object = request.operation === "DELETE" ? afterDeletion(old) : now;
  if (old === undefined && object === undefined) return notReadable(kind, request);
  const other = otherIdentity(request, [old, now]);
  if (other !== undefined) return { problem: other };
  if (!countsAnyway(reader) && isUnchanged(old, object, request))
    return { unjudged: "nothing that a rule reads changes" };
  return { change: { old, object: object && asInEffect(object) } };
}

const countsAnyway = ({ kind, keep }: Reader): boolean => keep.get(kind)?.isOfEveryChange === true;

/** A ConfigMap is read only if it is one of Istio's; objects of all other kinds in the table are read. */
const notReadable = (kind: Kind, { kind: named }: AdmissionRequest): ChangeReading =>
  kind === "MeshConfig"
    ? { unjudged: "the ConfigMap is not one of Istio's" }
    : { problem: `the object is not of kind ${named.kind}, which the request names` };

/**
 * Says which object of a request is not the one that the request names. The API server sends none such (kubernetes
 * apiserver pkg/endpoints/handlers checks names and namespaces before admission), so that nothing is known about what would
 * be stored, and where.
 */
function otherIdentity(
  { namespace, name }: AdmissionRequest,
  objects: readonly (AnyObject | undefined)[],
): string | undefined {
  for (const object of objects) {
    if (object === undefined) continue;
    const { metadata } = object;
    if (object.kind !== "Namespace" && !isSameOrUnset(metadata.namespace, namespace))
      return `the object is of namespace ${quoted(metadata.namespace)}, and the request of namespace ${quoted(namespace)}`;
    if (!isSameOrUnset(metadata.name, name))
      return `the object has the name ${quoted(metadata.name)}, and the request ${quoted(name)}`;
  }
  const [old, now] = objects;
  return old !== undefined && now !== undefined && isRenamed(old.metadata, now.metadata, name)
    ? "the object has another name or namespace than before"
    : undefined;
}

type Identity = Pick<AnyObject["metadata"], "name" | "namespace">;
const isRenamed = (old: Identity, now: Identity, requested: string): boolean =>
  !isSameOrUnset(old.name, now.name) ||
  !isSameOrUnset(old.namespace, now.namespace) ||
  (now.name === "" && requested === "");

const isSameOrUnset = (one: string, other: string): boolean => one === other || one === "" || other === "";

/**
 * A deleted Namespace exists in phase Terminating until its contents are deleted, and its labels are in effect until then.
 * Any other object is treated as deleted, because removing its last finalizer needs no further review.
 */
const afterDeletion = (old: AnyObject | undefined): AnyObject | undefined =>
  old?.kind === "Namespace" ? { ...old, status: { phase: "Terminating" } } : undefined;

/** Uses the object of the view if it is the same version, which is the case unless the watch lags behind. */
function oldObjectOf(request: AdmissionRequest, object: AnyObject | undefined, { known, keep }: Reader) {
  const there = object && known?.find(object.kind, keyOf(object));
  const isSame = there !== undefined && isVersion(request.oldObject, there) && keepsAsMuch(there, keep);
  return isSame ? there : read(request, request.oldObject, keep);
}

/** The object of the view may have been read when other rules were in force. */
const keepsAsMuch = ({ kind, kept }: AnyObject, keep: KeptFields): boolean => kept?.fields === keep.get(kind);

function isVersion(raw: unknown, { apiVersion, metadata: { uid, resourceVersion } }: AnyObject): boolean {
  const metadata = member(raw, "metadata");
  return (
    isSet(uid) &&
    isSet(resourceVersion) &&
    member(metadata, "uid") === uid &&
    member(metadata, "resourceVersion") === resourceVersion &&
    member(raw, "apiVersion") === apiVersion
  );
}

const read = (request: AdmissionRequest, raw: unknown, keep: KeptFields): AnyObject | undefined =>
  withMeshConfigFaults(readAny(named(raw, request.name), request.namespace, keep), raw);

/** Sets the name of the request if the object has none. A name of the wrong type is kept for the reader to report. */
function named(raw: unknown, name: string): unknown {
  if (name === "" || !isObject(raw)) return raw;
  const metadata = member(raw, "metadata") ?? {};
  const own = member(metadata, "name") ?? "";
  return isObject(metadata) && own === "" ? { ...raw, metadata: { ...metadata, name } } : raw;
}

function missingPart({ operation, object, oldObject }: AdmissionRequest): "object" | "oldObject" | undefined {
  if (operation !== "DELETE" && object === undefined) return "object";
  return operation !== "CREATE" && oldObject === undefined ? "oldObject" : undefined;
}

/**
 * Why a request for an object that is being deleted is not evaluated. The deletion was evaluated when it was requested,
 * and removing the last finalizer completes it; a denial would block the object and its namespace. As long as the object
 * has finalizers, it is in effect, and changes of its spec are evaluated.
 */
function endOf({ operation, object, oldObject }: AdmissionRequest): string | undefined {
  if (!isSet(member(member(oldObject, "metadata"), "deletionTimestamp"))) return undefined;
  if (operation === "DELETE") return "the object is being deleted already";
  return hasFinalizers(oldObject) && !hasFinalizers(object)
    ? "the last finalizer is removed, which deletes the object"
    : undefined;
}

const isSet = (value: unknown): boolean => typeof value === "string" && value !== "";

/** A Namespace has finalizers in its spec, too. */
function hasFinalizers(raw: unknown): boolean {
  return ["metadata", "spec"].some((part) => {
    const finalizers = member(member(raw, part), "finalizers");
    return Array.isArray(finalizers) && finalizers.length > 0;
  });
}

/** Readers keep only fields that rules read, so changes of managed fields, finalizers and most of the status are ignored. */
function isUnchanged(old: AnyObject | undefined, object: AnyObject | undefined, request: AdmissionRequest): boolean {
  if (old === undefined || object === undefined) return false;
  // The metadata rarely differs, so it is compared last.
  if (!hasEqualMembers(old, object, comparedApart) || !isEqualKept(old.kept?.value, object.kept?.value)) return false;
  const [before, after] = [old.metadata, object.metadata];
  return (
    hasEqualMembers(before, after, ofEachVersion) &&
    isEqual(annotationsWithoutLastApplied(before), annotationsWithoutLastApplied(after)) &&
    hasSameLastApplied(request)
  );
}
const comparedApart = { except: ["metadata", "kept"] };
const ofEachVersion = { except: ["resourceVersion", "annotations"] };

/** Compared in the request, because the view may have dropped the annotation. */
const hasSameLastApplied = ({ object, oldObject }: AdmissionRequest): boolean =>
  lastAppliedOf(object) === lastAppliedOf(oldObject);

function lastAppliedOf(raw: unknown): string {
  const text = member(member(member(raw, "metadata"), "annotations"), lastApplied);
  return typeof text === "string" ? text : "";
}

/** What rules of policies read, but for what every write changes. */
function isEqualKept(old: unknown, now: unknown): boolean {
  const stable = (value: unknown): unknown => {
    const metadata = member(value, "metadata");
    if (!isObject(value) || !isObject(metadata)) return value;
    const { resourceVersion: _version, generation: _generation, ...rest } = metadata;
    return { ...value, metadata: rest };
  };
  return isEqual(stable(old), stable(now));
}

function unknownKind({ kind: { group, kind } }: AdmissionRequest): string {
  const shown = group === "" ? kind : `${kind}.${group}`;
  return `Meshward has no rule for ${shown} and did not check it; remove the kind from the webhook's rules to avoid this warning`;
}
