import type { Schema } from "./schema.ts";

/** A schema whose inner schemas are numbers: their places in a list. Versions of a kind share almost all of them. */
export type InternedSchema = Readonly<Record<string, unknown>>;

/** Collects schemas, each distinct one once. */
export class SchemaList {
  readonly schemas: InternedSchema[] = [];
  readonly #places = new Map<string, number>();

  /** Returns the place of the schema. */
  add(schema: Schema): number {
    const own = withInner(schema, (inner) => this.add(inner as Schema));
    const text = JSON.stringify(own);
    const known = this.#places.get(text);
    if (known !== undefined) return known;
    this.schemas.push(own);
    this.#places.set(text, this.schemas.length - 1);
    return this.schemas.length - 1;
  }
}

/** The schema at a place of a list. */
export function schemaAt(schemas: readonly InternedSchema[], place: number): Schema {
  return withInner(schemas[place] ?? {}, (inner) => schemaAt(schemas, inner as number));
}

function withInner(schema: object, change: (inner: unknown) => unknown): InternedSchema {
  return Object.fromEntries(
    Object.entries(schema).map(([keyword, value]) => [keyword, changed(keyword, value, change)]),
  );
}

function changed(keyword: string, value: unknown, change: (inner: unknown) => unknown): unknown {
  if (keyword === "items" || keyword === "not") return change(value);
  if (keyword === "additionalProperties") return typeof value === "boolean" ? value : change(value);
  if (keyword === "oneOf" || keyword === "anyOf" || keyword === "allOf")
    return (value as readonly unknown[]).map(change);
  if (keyword !== "properties") return value;
  return Object.fromEntries(Object.entries(value as object).map(([name, inner]) => [name, change(inner)]));
}
