import type { Kind } from "./kinds.ts";
import { isObject } from "./read.ts";

/**
 * The fields of a raw object that somebody reads, as a tree. Readers keep only what built-in rules need; what rules of a policy
 * name is kept beside it, so that memory grows with what is named and not with the objects.
 */
export class FieldUse {
  /** The value is used as a whole, with everything in it. */
  isWhole = false;
  /** Somebody asks who may change the object, so that every change counts, also of what nobody reads. */
  isOfEveryChange = false;
  readonly fields = new Map<string, FieldUse>();
  /** Of each item of a list and each value of a map. */
  items: FieldUse | undefined;

  field(name: string): FieldUse {
    let found = this.fields.get(name);
    if (found === undefined) this.fields.set(name, (found = new FieldUse()));
    return found;
  }
  item(): FieldUse {
    return (this.items ??= new FieldUse());
  }
  /** What is used of the entry with a key, among others by uses of every entry. */
  at(key: string): FieldUse | undefined {
    const own = this.fields.get(key);
    if (own === undefined || this.items === undefined) return own ?? this.items;
    const both = new FieldUse();
    both.add(own);
    both.add(this.items);
    return both;
  }
  add(other: FieldUse): void {
    this.isWhole ||= other.isWhole;
    this.isOfEveryChange ||= other.isOfEveryChange;
    for (const [name, inner] of other.fields) this.field(name).add(inner);
    if (other.items !== undefined) this.item().add(other.items);
  }
  /** Whether this tree has everything that the other one has. */
  covers(other: FieldUse): boolean {
    if (this.isWhole) return true;
    if (other.isWhole) return false;
    const ofFields = [...other.fields].every(([name, inner]) => this.at(name)?.covers(inner));
    return ofFields && (other.items === undefined || this.items?.covers(other.items) === true);
  }
}

/** For each kind whose raw fields are needed, which. One value for as long as the same rules are in force. */
export type KeptFields = ReadonlyMap<Kind, FieldUse>;
export const nothingKept: KeptFields = new Map();

/** What was kept of a raw object, and which fields that are: an object that was read earlier may have fewer. */
export interface Kept {
  readonly fields: FieldUse;
  readonly value: unknown;
}

/** The part of a raw value that is used. Lists keep their length, and what is there stays there, if only as an empty object. */
export function keptOf(raw: unknown, use: FieldUse): unknown {
  if (use.isWhole || typeof raw !== "object" || raw === null) return raw;
  const { items, fields } = use;
  if (Array.isArray(raw)) return raw.map((item) => (items === undefined ? emptied(item) : keptOf(item, items)));
  const kept: Record<string, unknown> = {};
  if (items === undefined) {
    for (const [name, inner] of fields)
      if (Object.hasOwn(raw, name)) keep(kept, name, keptOf((raw as Record<string, unknown>)[name], inner));
  } else {
    for (const [name, value] of Object.entries(raw)) keep(kept, name, keptOf(value, use.at(name) ?? items));
  }
  return kept;
}

/** An own property, so that a key named __proto__ stays data. */
function keep(kept: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") Object.defineProperty(kept, name, { value, ...ofData });
  else kept[name] = value;
}
const ofData = { configurable: true, enumerable: true, writable: true };

const emptied = (value: unknown): unknown => (Array.isArray(value) ? [] : isObject(value) ? {} : value);
