import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, Labels, ObjectMetadata } from "../kube/object.ts";
import { isAnnotationRead, isLabelRead } from "../mesh/membership/namespace-metadata.ts";
import type { Change } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";

/**
 * Whether no built-in rule reads, for other objects, what the changes change, so that the results for these are the same: labels and
 * annotations of Namespaces that nobody asks for, and the shares of routes, as a canary's next step changes them. Rules for the changed
 * objects themselves may read more, and rules of policies read whatever they name. Other kinds are not compared: most of their updates
 * change what is read.
 */
export const areUnread = (changes: readonly Change[] | undefined, before: Mesh, after: Mesh): boolean =>
  changes !== undefined && before.settings === after.settings && changes.every((change) => isUnread(change, after));

function isUnread({ old, object }: Change, mesh: Mesh): boolean {
  if (old === undefined || object === undefined || old.implied || object.implied) return false;
  if (old.kind === "Namespace") return isSameMetadata(old, object, mesh) && isSame(contentOf(old), contentOf(object));
  return (
    withShares.has(old.kind) &&
    isSame(resourceVersionApart(old.metadata), resourceVersionApart(object.metadata)) &&
    isSame(contentOf(old), contentOf(object), isShare)
  );
}

const withShares: ReadonlySet<Kind> = new Set<Kind>(["VirtualService", "KubernetesRoute"]);

/**
 * Of destinations that receive requests, no fact says how many. A sum of such weights has no overflow, as an object that fits into etcd
 * has too few of them (virtual-service-validation.ts).
 */
const isShare = (key: string, value: unknown): boolean =>
  key === "weight" && typeof value === "number" && value > 0 && value <= 10_000;

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

function othersOf({ labels: _labels, annotations: _annotations, ...others }: ObjectMetadata): object {
  return resourceVersionApart(others);
}

/** Every update changes the resourceVersion. */
function resourceVersionApart({ resourceVersion: _v, ...others }: Partial<ObjectMetadata>): object {
  return others;
}

const keysThatDiffer = (a: Labels, b: Labels): readonly string[] =>
  Object.keys({ ...a, ...b }).filter((key) => a[key] !== b[key]);

/** `isLike`: of these values of a key, one is as good as another. */
type IsLike = (key: string, value: unknown) => boolean;

/** Readers make values of text, numbers, lists and records. Anything else counts as different. */
function isSame(a: unknown, b: unknown, isLike?: IsLike): boolean {
  if (a === b) return true;
  if (!isNested(a) || !isNested(b)) return false;
  const [keys, others] = [Object.keys(a), Object.keys(b)];
  const isSameAt = (key: string) => {
    const [one, other]: readonly unknown[] = [Reflect.get(a, key), Reflect.get(b, key)];
    return isSame(one, other, isLike) || (isLike?.(key, one) === true && isLike(key, other));
  };
  return keys.length === others.length && keys.every(isSameAt);
}

const isNested = (value: unknown): value is object =>
  typeof value === "object" && value !== null && nested.has(Object.getPrototypeOf(value));
const nested: ReadonlySet<unknown> = new Set([Object.prototype, Array.prototype, null]);
