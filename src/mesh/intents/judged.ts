import type { ObjectOf } from "../../kube/object.ts";
import { type MeshView, relation } from "../../view/view.ts";
import { clusterIntentsOfNamespace, type Intent, isAbout, isClusterWide } from "./intents.ts";
import { type Targets, targetsIn, targetsOf } from "./targets.ts";
import { verdictReads } from "./verdicts.ts";

/** What `intentsAt` and the verdicts of these intents read. */
export const intentReads = [...verdictReads, clusterIntentsOfNamespace] as const;
export type IntentView = MeshView<(typeof intentReads)[number]>;

/** An intent, and the part of what it is about that is looked at. */
export interface IntentAt {
  readonly intent: Intent;
  readonly targets: Targets;
}

/**
 * What there is to look at for an object: an intent itself, or a namespace with the intents of the root namespace that are about
 * it. So a change looks at one namespace, and policies and exceptions of that namespace decide about it.
 */
export function intentsAt(
  object: ObjectOf<"MeshwardIntent"> | ObjectOf<"Namespace">,
  mesh: IntentView,
): readonly IntentAt[] {
  if (object.kind === "MeshwardIntent")
    return object.spec.to.namespaces === undefined ? [{ intent: object, targets: targetsOf(object, mesh) }] : [];
  return mesh.related(clusterIntentsOfNamespace, object).flatMap((intent) => intentAbout(object, intent, mesh));
}

/** An intent of the root namespace in one namespace; none: it is not about it, or nothing runs there. */
export function intentAbout(namespace: ObjectOf<"Namespace">, intent: Intent, mesh: IntentView): readonly IntentAt[] {
  const is = isAbout(intent, namespace);
  if (is === false || !isClusterWide(intent, mesh.settings)) return [];
  const targets = targetsIn(namespace, intent, mesh);
  if (targets.targets.length === 0) return [];
  if (is) return [{ intent, targets }];
  const unknown = `the labels of namespace ${namespace.metadata.name} are not known`;
  return [{ intent, targets: { ...targets, unknown } }];
}

/** An intent of the root namespace and all namespaces, which it may be about. */
export const namespacesOfClusterIntent = relation(
  "namespacesOfClusterIntent",
  clusterIntentsOfNamespace.to,
  clusterIntentsOfNamespace.from,
);
