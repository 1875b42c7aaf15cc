import { isObject } from "../kube/read.ts";
import type { Schema } from "./schema.ts";
import { isAbsent } from "./values.ts";

/**
 * The value with the defaults of its schema, which the API server sets before it validates
 * (`apiextensions-apiserver/pkg/apiserver/schema/defaulting`). A value without any is returned itself.
 */
export function withDefaults(value: unknown, schema: Schema): unknown {
  if (!hasDefaults(schema)) return value;
  if (Array.isArray(value)) return value.map((item) => withDefaults(item, schema.items ?? {}));
  return isObject(value) ? objectWithDefaults(value, schema) : value;
}

function objectWithDefaults(
  value: Record<string, unknown>,
  { properties = {}, additionalProperties }: Schema,
): Record<string, unknown> {
  const rest = typeof additionalProperties === "object" ? additionalProperties : {};
  const set = Object.entries(value).map(([name, inner]): [string, unknown] => [
    name,
    withDefaults(inner, Object.hasOwn(properties, name) ? (properties[name] ?? {}) : rest),
  ]);
  const missing = Object.entries(properties).flatMap(([name, inner]): [string, unknown][] =>
    inner.default === undefined || (Object.hasOwn(value, name) && !isAbsent(value[name]))
      ? []
      : [[name, inner.default]],
  );
  return Object.fromEntries([...set, ...missing]);
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
