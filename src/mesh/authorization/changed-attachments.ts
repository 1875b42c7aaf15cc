import { keyOf } from "../../kube/identity.ts";
import type { AnyObject, Labels } from "../../kube/object.ts";
import { KeptIn } from "../../view/kept-in.ts";
import type { MeshView, Reads } from "../../view/view.ts";
import { captureOf } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import {
  isProxy,
  isWaypointProxy,
  type Workload,
  workloadPairs,
  workloadsOfNamespace,
} from "../membership/workloads.ts";
import { selects } from "../objects/selectors.ts";
import type { Proxies, ProxyReach } from "./proxy-attachments.ts";
import type { ProxyScope } from "./proxy-scope.ts";

// What a change does to proxies: objects that are new or changed and count for a proxy, and proxies that objects select anew.

/** A namespace on one side of a change. */
export interface ComparedSide<in R extends Reads> {
  readonly object: Namespace;
  readonly mesh: MeshView<R>;
}
type Side = ComparedSide<typeof workloadsOfNamespace>;

/** An object after a change, and as it was before. */
export interface ChangedObject<T> {
  readonly object: T;
  readonly was: T | undefined;
}
const compared = new KeptIn<
  readonly AnyObject[],
  { readonly before: readonly AnyObject[]; readonly changed: readonly ChangedObject<AnyObject>[] }
>();

/**
 * The objects of a list that are new, or that have another spec. The mesh-wide objects are the same two lists for all
 * namespaces, which are compared once.
 */
export function changedObjects<T extends AnyObject & { readonly spec: unknown }>(
  before: readonly T[],
  after: readonly T[],
): readonly ChangedObject<T>[] {
  if (before === after) return [];
  const known = compared.get(after);
  if (known?.before === before) return known.changed as readonly ChangedObject<T>[];
  const old = new Map(before.map((object) => [keyOf(object), object]));
  const changed = after.flatMap((object): readonly ChangedObject<T>[] => {
    const was = old.get(keyOf(object));
    const isSame = was === object || JSON.stringify(was?.spec) === JSON.stringify(object.spec);
    return isSame ? [] : [{ object, was }];
  });
  compared.set(after, { before, changed });
  return changed;
}

/** The fields of a spec that say for which proxies an object is. */
const scopeFields = new Set(["selector", "workloadSelector", "targetRef", "targetRefs"]);
const withoutScope = ({ spec }: { readonly spec: unknown }): string =>
  JSON.stringify(Object.entries(spec as object).filter(([field]) => !scopeFields.has(field)));

/**
 * Whether a changed object does something to proxies of a namespace that it did not do to them before. One that only selects
 * or targets others does so to these alone.
 */
export function reachOfChange<T extends AnyObject & { readonly spec: unknown }>(
  proxies: Proxies,
  { object, was }: ChangedObject<T>,
  scopeOf: (object: T) => ProxyScope,
): ProxyReach {
  const isMoved = was !== undefined && withoutScope(was) === withoutScope(object);
  return proxies.reachOf(object, scopeOf(object), isMoved ? scopeOf(was) : undefined);
}

/** A workload whose labels change, so that an object selects its proxy that did not before. */
export interface NewlySelected<T> {
  readonly workload: Workload;
  /** The workload with its old labels. */
  readonly was: Workload;
  readonly object: T;
}

/**
 * The unchanged objects that select a relabelled workload with a proxy only after the change. `lists` are those of the
 * namespace and of the root namespace before and after the change.
 */
export function* newlySelected<T extends AnyObject & { readonly spec: unknown }>(
  [before, after]: readonly [before: Side, after: Side],
  [old, now]: readonly [before: readonly (readonly T[])[], after: readonly (readonly T[])[]],
  labelsOf: (object: T) => Labels | undefined,
): Iterable<NewlySelected<T>> {
  if (now.every((objects) => objects.length === 0)) return;
  for (const [was, is] of relabelled(before, after)) {
    const isNew = (object: T): boolean => {
      const labels = labelsOf(object);
      return labels !== undefined && selects(labels, is.pod.labels) && !selects(labels, was.pod.labels);
    };
    for (const [level, objects] of now.entries()) {
      const changed = new Set(changedObjects(old[level] ?? [], objects).map(({ object }) => object));
      after.mesh.visited(objects.length);
      const selected = objects.filter((object) => !changed.has(object) && isNew(object));
      yield* selected.map((object) => ({ workload: is, was, object }));
    }
  }
}

/** The workloads with a proxy whose labels change. */
function* relabelled(before: Side, after: Side): Iterable<readonly [was: Workload, is: Workload]> {
  const old = before.mesh.related(workloadsOfNamespace, before.object);
  const now = after.mesh.related(workloadsOfNamespace, after.object);
  if (old === now) return;
  for (const [was, is] of workloadPairs(old, now))
    if (was !== is && JSON.stringify(was.pod.labels) !== JSON.stringify(is.pod.labels))
      if ((isProxy(is) && !isWaypointProxy(is)) || captureOf(is, after.object, after.mesh.settings) === "sidecar")
        yield [was, is];
}
