/**
 * What is computed once for an object, and lives as long as the object. Like a `WeakMap`, but for objects that may be those of
 * one review: V8 frees the entry of a `WeakMap` whose value leads back to its key only by a full garbage collection, and what is
 * kept in the object itself goes with it. It is no enumerable property, so copies and comparisons leave it out. Nothing is kept
 * in a frozen object: those are empty constants, for which it is soon computed again.
 */
export class KeptIn<K extends object, V> {
  readonly #field = Symbol("kept");

  get(object: K): V | undefined {
    return (object as { readonly [field: symbol]: V | undefined })[this.#field];
  }

  set(object: K, value: V): void {
    if (Object.isExtensible(object))
      Object.defineProperty(object, this.#field, { value, writable: true, configurable: true });
  }
}
