import { createHash } from "node:crypto";

/**
 * The values of YAML documents by their texts, for files that are read again and again: of ten thousand documents, one has changed.
 * What the previous reading did not contain is forgotten. Values must not be changed by those who read them.
 */
export class DocumentMemory {
  #before: ReadonlyMap<string, object> = new Map();
  #now = new Map<string, object>();

  /** Starts another reading. */
  begin(): void {
    this.#before = this.#now;
    this.#now = new Map();
  }

  /** `read` says whether the value depends on the text alone. */
  valueOf(text: string, read: () => { readonly value: unknown; readonly isWhole: boolean }): unknown {
    // The texts themselves are parts of files, which they would keep in memory.
    const key = createHash("sha256").update(text).digest("base64");
    const known = this.#before.get(key);
    const { value, isWhole } = known === undefined ? read() : { value: known, isWhole: true };
    if (isWhole && typeof value === "object" && value !== null) this.#now.set(key, value);
    return value;
  }
}
