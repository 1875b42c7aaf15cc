import type { AnyObject, Labels, ObjectMetadata } from "../kube/object.ts";
import { isAnnotationRead, isLabelRead } from "../mesh/membership/namespace-metadata.ts";
import type { Change } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";

/**
 * Whether the changes are only of labels and annotations of Namespaces that no built-in rule reads for other objects, whose results are
 * then the same. Rules for the Namespaces themselves may read more, and rules of policies read whatever they name. Other kinds are not
 * compared: their objects can be large, and most updates change what is read.
 */
export const areUnread = (changes: readonly Change[] | undefined, before: Mesh, after: Mesh): boolean =>
  changes !== undefined && before.settings === after.settings && changes.every((change) => isUnread(change, after));

function isUnread({ old, object }: Change, mesh: Mesh): boolean {
  if (old?.kind !== "Namespace" || object === undefined || old.implied || object.implied) return false;
  return isSameMetadata(old, object, mesh) && isSame(contentOf(old), contentOf(object));
}

/** What is kept of raw fields is for rules of policies. */
function contentOf({ metadata: _metadata, kept: _kept, ...content }: AnyObject): object {
  return content;
}

function isSameMetadata(old: AnyObject, object: AnyObject, mesh: Mesh): boolean {
  const [a, b] = [old.metadata, object.metadata];
  return (
    isSame(othersOf(a), othersOf(b)) &&
    keysThatDiffer(a.labels, b.labels).every((key) => !isLabelRead(key, mesh)) &&
    keysThatDiffer(a.annotations, b.annotations).every((key) => !isAnnotationRead(key))
  );
}

/** Every update changes the resourceVersion. */
function othersOf({
  labels: _labels,
  annotations: _annotations,
  resourceVersion: _v,
  ...others
}: ObjectMetadata): object {
  return others;
}

const keysThatDiffer = (a: Labels, b: Labels): readonly string[] =>
  Object.keys({ ...a, ...b }).filter((key) => a[key] !== b[key]);

/** Readers make values of text, numbers, lists and records. Anything else counts as different. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isNested(a) || !isNested(b)) return false;
  const [keys, others] = [Object.keys(a), Object.keys(b)];
  return keys.length === others.length && keys.every((key) => isSame(Reflect.get(a, key), Reflect.get(b, key)));
}

const isNested = (value: unknown): value is object =>
  typeof value === "object" && value !== null && nested.has(Object.getPrototypeOf(value));
const nested: ReadonlySet<unknown> = new Set([Object.prototype, Array.prototype, null]);
