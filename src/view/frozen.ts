import { keyOf } from "../kube/identity.ts";
import type { Kind } from "../kube/kinds.ts";
import { type Change, Overlay, subjectOf } from "./overlay.ts";
import type { MeshStore } from "./store.ts";
import type { Mesh } from "./view.ts";

/**
 * The mesh of a store as it was at one moment, while the store changes. The cost is that of the changes since then, not that
 * of the mesh. How far the kinds are known is not frozen.
 */
export class FrozenMesh {
  readonly mesh: Mesh;
  readonly #changed = new Map<Kind, Set<string>>();
  readonly #release: () => void;
  #changeCount = 0;

  constructor(store: MeshStore) {
    const overlay = new Overlay(store, [], new Set());
    this.mesh = overlay;
    this.#release = store.watch((change) => {
      overlay.hide(change);
      this.#changeCount++;
      const { kind } = subjectOf(change);
      let keys = this.#changed.get(kind);
      if (keys === undefined) this.#changed.set(kind, (keys = new Set()));
      keys.add(keyOf(subjectOf(change)));
    });
  }

  /** The number of changes since the mesh was frozen. */
  get changeCount(): number {
    return this.#changeCount;
  }

  /**
   * What is different in `now`, each object once, and without objects that only have another version. Yields after some objects,
   * because most objects of a cluster can change while a pass over it runs.
   */
  *changesTo(now: Mesh): Generator<void, readonly Change[]> {
    const changes: Change[] = [];
    let compared = 0;
    for (const [kind, keys] of [...this.#changed].map(([kind, keys]) => [kind, [...keys]] as const))
      for (const key of keys) {
        const change = { old: this.mesh.find(kind, key), object: now.find(kind, key) };
        if (contentOf(change.old) !== contentOf(change.object)) changes.push(change);
        if (++compared % comparedAtOnce === 0) yield;
      }
    return changes;
  }

  /** Ends it: from now on the mesh changes with its store. */
  release(): void {
    this.#release();
  }
}

/** So many objects take about a millisecond to compare. */
const comparedAtOnce = 100;

/** What rules can read. Most changes of workloads are of their status, which no reader keeps. */
const contentOf = (object: Change["object"]): string | undefined =>
  object && JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: undefined } });
