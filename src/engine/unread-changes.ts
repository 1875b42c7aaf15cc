import { hasEqualMembers } from "../kube/equal.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject, Labels } from "../kube/object.ts";
import { isAnnotationRead, isLabelRead } from "../mesh/membership/namespace-metadata.ts";
import type { Change } from "../view/overlay.ts";
import type { Mesh } from "../view/view.ts";

/** Which built-in rules read for other objects what is changed, beside those for the changed objects: none, those about intents, or any. */
export type ReadBy = "none" | "intents" | "any";

/**
 * Rules have the same results for other objects where nobody reads what is changed: labels and annotations of Namespaces that nobody asks
 * for, and the shares of routes, which a canary's next step changes and of which only intents say anything. Rules of policies read
 * whatever they name. Other kinds are not compared: most of their updates change what is read.
 */
export function readByOthers(changes: readonly Change[] | undefined, before: Mesh, after: Mesh): ReadBy {
  if (changes === undefined || before.settings !== after.settings) return "any";
  const all = changes.map((change) => readBy(change, after));
  return (["any", "intents"] as const).find((one) => all.includes(one)) ?? "none";
}

function readBy({ old, object }: Change, mesh: Mesh): ReadBy {
  if (old === undefined || object === undefined || old.implied || object.implied) return "any";
  if (old.kind === "Namespace")
    return isSameMetadata(old, object, mesh) && hasEqualMembers(old, object, content) ? "none" : "any";
  return withShares.has(old.kind) && differsInShares(old, object) ? "intents" : "any";
}

/** What is kept of raw fields is for rules of policies. */
const content = { except: ["metadata", "kept"] };
/** Every update changes the resourceVersion. */
const ofEachVersion = { except: ["resourceVersion"] };
const beside = { except: [...ofEachVersion.except, "labels", "annotations"] };

const withShares: ReadonlySet<Kind> = new Set<Kind>(["VirtualService", "KubernetesRoute"]);

/**
 * Of destinations that receive requests, no other fact says how many. A sum of such weights has no overflow, as an object that fits into etcd
 * has too few of them (virtual-service-validation.ts).
 */
const isShare = (key: string, value: unknown): boolean =>
  key === "weight" && typeof value === "number" && value > 0 && value <= 10_000;

const differsInShares = (old: AnyObject, object: AnyObject): boolean =>
  hasEqualMembers(old.metadata, object.metadata, ofEachVersion) &&
  hasEqualMembers(old, object, { ...content, isAlike: isShare });

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
