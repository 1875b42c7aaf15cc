import { isObject } from "../kube/read.ts";
import type { Schema } from "./schema.ts";
import { isMessageDuration, messageDuration } from "./values.ts";

// Which values of a message istiod decodes (github.com/golang/protobuf jsonpb/decode.go, which Istio pkg/util/protomarshal ApplyYAML uses).

/** A field whose value istiod cannot decode. */
export interface WrongType {
  /** Such as `proxyMetadata.FOO`. */
  readonly field: string;
  /** What it has to be: `a text in quotes`. */
  readonly expected: string;
}

/**
 * The first field whose value istiod cannot decode; undefined: it decodes all of them. `null` is nothing, and fields that the schema does
 * not have are passed over. `message`: with the JSON names of its fields.
 */
export const wrongTypeIn = (message: unknown, schema: Schema | undefined): WrongType | undefined =>
  isObject(message) ? inFields(message, schema ?? {}, "") : undefined;

/** The fields that a message does not have, which istiod ignores, such as `tracing.samplings`. `message`: with the JSON names of its fields. */
export function* unknownIn(message: unknown, schema: Schema | undefined, field = ""): Iterable<string> {
  if (Array.isArray(message))
    for (const [i, item] of message.entries()) yield* unknownIn(item, schema?.items, `${field}.${i}`);
  else if (isObject(message))
    for (const [name, one] of Object.entries(message))
      yield* unknownAt(one, { name, schema, field: field === "" ? name : `${field}.${name}` });
}

function unknownAt(
  value: unknown,
  { name, schema = {}, field }: { readonly name: string; readonly schema: Schema | undefined; readonly field: string },
): Iterable<string> {
  const { properties, additionalProperties } = schema;
  if (typeof additionalProperties === "object") return unknownIn(value, additionalProperties, field);
  if (properties !== undefined && !Object.hasOwn(properties, name)) return [field];
  return unknownIn(value, properties?.[name], field);
}

function wrongIn(value: unknown, schema: Schema, field: string): WrongType | undefined {
  if (value === null) return undefined;
  if (schema.type === "array")
    return Array.isArray(value) ? inEach(value.entries(), schema.items, field) : wrong(field, "a list");
  const { additionalProperties } = schema;
  if (typeof additionalProperties === "object")
    return isObject(value) ? inEach(Object.entries(value), additionalProperties, field) : wrong(field, "a map");
  if (schema.type === "object")
    return isObject(value) ? inFields(value, schema, field) : wrong(field, "a map of fields");
  return isDecoded(value, schema) ? undefined : wrong(field, inWords(schema));
}

function inFields(value: object, { properties = {} }: Schema, field: string): WrongType | undefined {
  for (const [name, one] of Object.entries(value)) {
    const inner = Object.hasOwn(properties, name) ? properties[name] : undefined;
    const found = inner === undefined ? undefined : wrongIn(one, inner, field === "" ? name : `${field}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function inEach(
  entries: Iterable<[number | string, unknown]>,
  item: Schema = {},
  field: string,
): WrongType | undefined {
  for (const [key, value] of entries) {
    const found = wrongIn(value, item, `${field}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

const wrong = (field: string, expected: string): WrongType => ({ field, expected });

function inWords({ type = "", enum: values, format, pattern }: Schema): string {
  if (values !== undefined) return `one of ${values.join(", ")}`;
  if (type === "string" && pattern === messageDuration) return "a duration such as 5s";
  return (format === "uint32" ? "a whole number that is not negative" : words.get(type)) ?? "something else";
}
const words: ReadonlyMap<string, string> = new Map([
  ["string", "a text, in quotes if it looks like a number or like true or false"],
  ["boolean", "true or false without quotes"],
  ["number", "a number"],
  ["integer", "a whole number"],
]);

/** Whether istiod decodes a value that is neither a list nor a map: numbers may be in quotes, and an enum may have any number. */
export function isDecoded(value: unknown, { type, enum: values, format, pattern }: Schema): boolean {
  if (values !== undefined) return values.includes(value) || (typeof value === "number" && isWhole(value, int32));
  if (type === "integer") return isWhole(value, rangeOf(format));
  if (type === "number") return numberOf(value) !== undefined || nonFinite.has(value);
  return typeof value === type && (pattern !== messageDuration || isMessageDuration(value as string));
}

const nonFinite: ReadonlySet<unknown> = new Set(["NaN", "Infinity", "-Infinity"]);

type Range = readonly [min: number, max: number];
const int32: Range = [-(2 ** 31), 2 ** 31 - 1];
const ranges: ReadonlyMap<string, Range> = new Map([
  ["int32", int32],
  ["uint32", [0, 2 ** 32 - 1]],
] as const);
const rangeOf = (format = ""): Range => ranges.get(format) ?? [-(2 ** 63), 2 ** 63 - 1];

function isWhole(value: unknown, [min, max]: Range): boolean {
  const number = numberOf(value);
  if (number === undefined || !Number.isInteger(number) || number < min || number > max) return false;
  // A number without quotes is written anew as JSON.
  return typeof value !== "string" || !/[.e]/i.test(value);
}

/** A number, or a text in which JSON has one. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  const isNumber = typeof value === "string" && /^\s*-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?\s*$/.test(value);
  return isNumber ? Number(value) : undefined;
}
