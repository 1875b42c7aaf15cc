import { identityOf, keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import type { MeshStore } from "./store.ts";

/**
 * Objects of a mesh that its source does not contain, such as intents in files. An object of the source counts instead of one
 * of the same name, as long as the source has it. `stores` are those of the mesh; the first one is in use.
 */
export class GivenObjects {
  readonly #stores: () => readonly MeshStore[];
  #list: readonly AnyObject[] = [];
  #objects: ReadonlyMap<string, AnyObject> = new Map();

  constructor(stores: () => readonly MeshStore[]) {
    this.#stores = stores;
  }

  /** Sets these objects instead of those that were given before. */
  replace(objects: readonly AnyObject[]): void {
    if (objects === this.#list) return;
    this.#list = objects;
    const before = this.#objects;
    this.#objects = new Map(objects.map((object) => [identityOf(object), object]));
    for (const store of this.#stores()) {
      for (const old of before.values())
        if (store.find(old.kind, keyOf(old)) === old) store.delete(old.kind, keyOf(old));
      for (const object of objects) if (store.find(object.kind, keyOf(object)) === undefined) store.set(object);
    }
  }

  /** Whether an object of the mesh was given, and is not from the source. */
  has(object: AnyObject): boolean {
    return this.#objects.get(identityOf(object)) === object;
  }

  /** The source no longer has this object: one that was given counts again. */
  removed(object: AnyObject): void {
    const given = this.#objects.get(identityOf(object));
    if (given !== undefined) for (const store of this.#stores()) store.set(given);
  }
}
