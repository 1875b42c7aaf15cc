import { isObject } from "../kube/read.ts";
import { listed } from "../text/phrases.ts";
import type { Schema } from "./schema.ts";
import { boundOf, isAbsent, wrongType } from "./values.ts";

/**
 * What is wrong about a value's combination of fields (`oneOf`, `anyOf`, `allOf`, `not`): the rest of a sentence that begins
 * with the field. Undefined if nothing is.
 */
export function wrongChoice(schema: Schema, value: unknown): string | undefined {
  const { oneOf, anyOf, allOf = [], not } = schema;
  if (oneOf && count(oneOf, value) !== 1) return described(oneOf, value);
  if (anyOf && count(anyOf, value) === 0) return described(anyOf, value);
  if (not && accepts(not, value)) return described([not], value);
  const wrong = allOf.find((one) => !accepts(one, value));
  return wrong && (wrongChoice(wrong, value) ?? general);
}

const general = "has a value or a combination of fields that the schema excludes";

const count = (schemas: readonly Schema[], value: unknown): number =>
  schemas.filter((schema) => accepts(schema, value)).length;

/** Whether a schema accepts a value; fields that the schema does not know do not matter. */
function accepts(schema: Schema, value: unknown): boolean {
  if (schema.nullable === true && value === null) return true;
  if (wrongType(schema, value) !== undefined || boundOf(schema, value) !== undefined) return false;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return false;
  if (wrongChoice(schema, value) !== undefined) return false;
  if (Array.isArray(value)) return value.every((item) => schema.items === undefined || accepts(schema.items, item));
  return !isObject(value) || acceptsFields(schema, value);
}

function acceptsFields({ required = [], properties = {} }: Schema, value: Record<string, unknown>): boolean {
  if (!required.every((name) => has(value, name))) return false;
  return Object.entries(properties).every(([name, inner]) => !has(value, name) || accepts(inner, value[name]));
}

export const has = (value: Record<string, unknown>, name: string): boolean =>
  Object.hasOwn(value, name) && !isAbsent(value[name]);

/** Most choices are between fields, one of which must be set, or may be. */
function described(schemas: readonly Schema[], value: unknown): string {
  const names = [...new Set(schemas.flatMap((schema) => namesIn(schema)))].sort();
  if (names.length < 2 || !isObject(value)) return typed(schemas) ?? general;
  const set = names.filter((name) => has(value, name));
  const all = listed(
    names.map((name) => JSON.stringify(name)),
    "or",
  );
  if (set.length === 0) return `must have one of the fields ${all}`;
  if (set.length === 1) return general;
  return `must have only one of the fields ${all}, and has ${listed(
    set.map((name) => JSON.stringify(name)),
    "and",
  )}`;
}

/** The fields that the alternatives require. */
function namesIn({ required = [], oneOf = [], anyOf = [], allOf = [], not }: Schema): readonly string[] {
  const inner = [...oneOf, ...anyOf, ...allOf, ...(not === undefined ? [] : [not])];
  return [...required, ...inner.flatMap(namesIn)];
}

function typed(schemas: readonly Schema[]): string | undefined {
  const named = schemas.map((schema) => wrongType(schema, undefined));
  return named.includes(undefined) ? undefined : `must be ${listed(named.map(String), "or")}`;
}
