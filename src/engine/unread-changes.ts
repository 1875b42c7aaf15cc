import { hasEqualMembers } from "../kube/equal.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, Labels } from "../kube/object.ts";
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
  if (old.kind === "Namespace") return isSameMetadata(old, object, mesh) && hasEqualMembers(old, object, content);
  return (
    withShares.has(old.kind) &&
    hasEqualMembers(old.metadata, object.metadata, ofEachVersion) &&
    hasEqualMembers(old, object, { ...content, isAlike: isShare })
  );
}

/** What is kept of raw fields is for rules of policies. */
const content = { except: ["metadata", "kept"] };
/** Every update changes the resourceVersion. */
const ofEachVersion = { except: ["resourceVersion"] };
const beside = { except: [...ofEachVersion.except, "labels", "annotations"] };

const withShares: ReadonlySet<Kind> = new Set<Kind>(["VirtualService", "KubernetesRoute"]);

/**
 * Of destinations that receive requests, no fact says how many. A sum of such weights has no overflow, as an object that fits into etcd
 * has too few of them (virtual-service-validation.ts).
 */
const isShare = (key: string, value: unknown): boolean =>
  key === "weight" && typeof value === "number" && value > 0 && value <= 10_000;

function isSameMetadata(old: AnyObject, object: AnyObject, mesh: Mesh): boolean {
  const [a, b] = [old.metadata, object.metadata];
  return (
    hasEqualMembers(a, b, beside) &&
    keysThatDiffer(a.labels, b.labels).every((key) => !isLabelRead(key, mesh)) &&
    keysThatDiffer(a.annotations, b.annotations).every((key) => !isAnnotationRead(key))
  );
}

const keysThatDiffer = (a: Labels, b: Labels): readonly string[] =>
  Object.keys({ ...a, ...b }).filter((key) => a[key] !== b[key]);
