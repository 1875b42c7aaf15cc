import { isObject } from "../kube/read.ts";
import type { Schema } from "./schema.ts";
import { isAbsent } from "./values.ts";

/**
 * The value with the defaults of its schema, which the API server sets before it validates
 * (`apiextensions-apiserver/pkg/apiserver/schema/defaulting`). A value without any is returned itself.
 */
export function withDefaults(value: unknown, schema: Schema): unknown {
  if (!hasDefaults(schema)) return value;
  if (Array.isArray(value)) return itemsWithDefaults(value, schema.items ?? {});
  return isObject(value) ? objectWithDefaults(value, schema) : value;
}

function itemsWithDefaults(items: readonly unknown[], schema: Schema): readonly unknown[] {
  const set = items.map((item) => withDefaults(item, schema));
  return set.some((item, i) => item !== items[i]) ? set : items;
}

function objectWithDefaults(value: Record<string, unknown>, schema: Schema): Record<string, unknown> {
  const set: [string, unknown][] = [];
  for (const [name, inner] of Object.entries(value)) {
    const changed = withDefaults(inner, schemaNamed(name, schema));
    if (changed !== inner) set.push([name, changed]);
  }
  for (const [name, inner] of fieldsWithDefault(schema))
    if (!Object.hasOwn(value, name) || isAbsent(value[name])) set.push([name, inner]);
  return set.length === 0 ? value : { ...value, ...Object.fromEntries(set) };
}

function schemaNamed(name: string, { properties = {}, additionalProperties }: Schema): Schema {
  if (Object.hasOwn(properties, name)) return properties[name] ?? {};
  return typeof additionalProperties === "object" ? additionalProperties : {};
}

const defaults = new WeakMap<Schema, readonly [string, unknown][]>();

function fieldsWithDefault(schema: Schema): readonly [string, unknown][] {
  let found = defaults.get(schema);
  if (found === undefined) {
    found = Object.entries(schema.properties ?? {}).flatMap(([name, inner]): [string, unknown][] =>
      inner.default === undefined ? [] : [[name, inner.default]],
    );
    defaults.set(schema, found);
  }
  return found;
}

const known = new WeakMap<Schema, boolean>();

function hasDefaults(schema: Schema): boolean {
  let found = known.get(schema);
  if (found === undefined) {
    const { properties = {}, items, additionalProperties } = schema;
    const inner = [...Object.values(properties), items, additionalProperties];
    found = schema.default !== undefined || inner.some((one) => typeof one === "object" && hasDefaults(one));
    known.set(schema, found);
  }
  return found;
}
