import { SmallMap } from "./small-map.ts";

/**
 * A map whose keys are lists of objects, by identity. To look a list up, `next` is followed from key to key: this needs
 * neither the list nor a text that stands for it, which would be created for each of tens of thousands of workloads.
 */
export class PathMap<K extends object, V> {
  /** The value of the keys that lead here. */
  value: V | undefined;
  readonly #next = new SmallMap<K, PathMap<K, V>>();

  next(key: K): PathMap<K, V> {
    let found = this.#next.get(key);
    if (found === undefined) this.#next.set(key, (found = new PathMap()));
    return found;
  }
}
