/**
 * A map that needs little memory for one entry. A review makes hundreds of maps, most of which get one entry, and the time to
 * create and to collect them is a good part of its time.
 */
export class SmallMap<K extends object | string, V extends object | string | number | boolean> {
  #key: K | undefined;
  #value: V | undefined;
  #others: Map<K, V> | undefined;

  get(key: K): V | undefined {
    return key === this.#key ? this.#value : this.#others?.get(key);
  }

  set(key: K, value: V): void {
    if (this.#key === undefined || this.#key === key) {
      this.#key = key;
      this.#value = value;
    } else (this.#others ??= new Map()).set(key, value);
  }

  get size(): number {
    return (this.#key === undefined ? 0 : 1) + (this.#others?.size ?? 0);
  }
}
