import { idOf } from "../../kube/identity.ts";
import type { AnyObject, Labels } from "../../kube/object.ts";
import type { Fact, MeshView, Reads } from "../../view/view.ts";
import { isTerminating, type rootOfNamespace } from "../membership/namespaces.ts";
import type { Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { selects } from "../objects/selectors.ts";
import { type ChangedObject, changedObjects, type ComparedSide, newlySelected } from "./changed-attachments.ts";
import { namespacesInForce, type Proxies } from "./proxy-attachments.ts";
import type { ProxyScope } from "./proxy-scope.ts";

// What objects that are attached to proxies do to these after a change, and did not do before.

/** An effect on proxies of a namespace that an object has only after a change. */
export interface AddedEffect<T> {
  readonly object: T;
  readonly effect: string;
  /** Of the proxies that are new to the effect. */
  readonly reach: "sure" | "possible";
  /** The effects that the object had on all of its proxies before, or that other ones had on the workload. */
  readonly known: ReadonlySet<string>;
  /** Whose new labels the object selects, if it is not the object that changes. */
  readonly workload?: Workload;
}

/** What comes before a message about an effect on a workload by its new labels. */
export const byLabelsOf = (workload: Workload | undefined): string =>
  workload === undefined ? "" : `With the new labels of ${idOf(workload)}, `;

type OwnObjects<T> = Fact<string, "Namespace", Reads, readonly T[]>;

type OfProxies = Fact<string, "Namespace", Reads, Proxies>;

interface Effects<T, F extends OwnObjects<T>, P extends OfProxies> {
  /** The objects of a namespace itself that may have effects. */
  readonly objectsIn: F;
  readonly proxies: P;
  /** Objects of other namespaces that are attached to proxies which the fact knows, before and after the change. */
  readonly elsewhere?: readonly [before: readonly T[], after: readonly T[]];
  scopeOf(object: T): ProxyScope;
  effectsOf(object: T): readonly string[];
}

type Sides<F extends Reads, P extends Reads> = readonly [
  before: ComparedSide<F | typeof rootOfNamespace | typeof workloadsOfNamespace>,
  after: ComparedSide<F | P | typeof rootOfNamespace | typeof workloadsOfNamespace>,
];

/**
 * What objects of a namespace and of the root namespace do to proxies of that namespace that they did not before: because they
 * are new or changed, or because the labels of a workload are. Nothing in a namespace that is being deleted.
 */
export function* addedEffects<
  T extends AnyObject & { readonly spec: unknown },
  F extends OwnObjects<T>,
  P extends OfProxies,
>(sides: Sides<F, P>, effects: Effects<T, F, P>): Iterable<AddedEffect<T>> {
  if (isTerminating(sides[1].object)) return;
  yield* effectsOfChanges(sides, effects);
  yield* effectsByLabels(sides, effects);
}

/** The same of new and changed objects alone. */
export function* effectsOfChanges<
  T extends AnyObject & { readonly spec: unknown },
  F extends OwnObjects<T>,
  P extends OfProxies,
>(
  [before, after]: Sides<F, P>,
  { objectsIn, proxies, elsewhere = [[], []], scopeOf, effectsOf }: Effects<T, F, P>,
): Iterable<AddedEffect<T>> {
  if (isTerminating(after.object)) return;
  const [old, now] = [listsOf<T, F>(before, objectsIn), listsOf<T, F>(after, objectsIn)];
  const changed = now.flatMap((objects, level) => changedObjects(old[level] ?? [], objects));
  for (const change of [...changed, ...changedObjects(...elsewhere)])
    yield* effectsOfChange((after.mesh as MeshView<OfProxies>).get<OfProxies>(proxies, after.object), change, {
      scopeOf,
      effectsOf,
    });
}

/** Those of a namespace, and those of the root namespace. */
const listsOf = <T, F extends OwnObjects<T>>(
  { object, mesh }: ComparedSide<F | typeof rootOfNamespace>,
  objectsIn: F,
): readonly (readonly T[])[] =>
  namespacesInForce(object, mesh).map((one) => (mesh as MeshView<OwnObjects<T>>).get<OwnObjects<T>>(objectsIn, one));

function* effectsByLabels<
  T extends AnyObject & { readonly spec: unknown },
  F extends OwnObjects<T>,
  P extends OfProxies,
>([before, after]: Sides<F, P>, { objectsIn, scopeOf, effectsOf }: Effects<T, F, P>): Iterable<AddedEffect<T>> {
  const [old, now] = [listsOf<T, F>(before, objectsIn), listsOf<T, F>(after, objectsIn)];
  const labelsOf = (object: T): Labels | undefined => {
    const { labels, targetRefs } = scopeOf(object);
    return targetRefs.length === 0 ? labels : undefined;
  };
  const known = new Map<Workload, ReadonlySet<string>>();
  for (const { workload, was, object } of newlySelected([before, after], [old, now], labelsOf)) {
    let there = known.get(workload);
    if (there === undefined) {
      const selecting = old.flat().filter((one) => selects(labelsOf(one) ?? noneSelected, was.pod.labels));
      known.set(workload, (there = new Set(selecting.flatMap(effectsOf))));
    }
    for (const effect of effectsOf(object))
      if (!there.has(effect)) yield { object, effect, reach: "sure", known: there, workload };
  }
}
/** A label that no pod has. */
const noneSelected: Labels = Object.freeze({ "": "" });

function* effectsOfChange<T extends AnyObject>(
  proxies: Proxies,
  { object, was }: ChangedObject<T>,
  { scopeOf, effectsOf }: Pick<Effects<T, never, never>, "scopeOf" | "effectsOf">,
): Iterable<AddedEffect<T>> {
  const scope = scopeOf(object);
  const reach = proxies.reachOf(object, scope);
  if (reach === undefined) return;
  const [old, oldScope] = was === undefined ? [nothing, undefined] : [new Set(effectsOf(was)), scopeOf(was)];
  // It has none of its effects yet on proxies that it selects or targets only now.
  const reachOfMove = oldScope && proxies.reachOf(object, scope, oldScope);
  const known = reachOfMove === undefined ? old : nothing;
  for (const effect of effectsOf(object))
    if (!known.has(effect)) yield { object, effect, reach: old.has(effect) ? (reachOfMove ?? reach) : reach, known };
}
const nothing: ReadonlySet<string> = new Set();
