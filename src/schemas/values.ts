import { isBase64 } from "../text/base64.ts";
import { isIP, isIPv6 } from "node:net";
import { durationNamed, isObject } from "../kube/read.ts";
import { nanosecondsOf } from "../text/go-durations.ts";
import { counted } from "../text/phrases.ts";
import { matches } from "./pattern.ts";
import type { Schema } from "./schema.ts";

// What a schema says about a value without what is inside it. Texts are the rest of a sentence that begins with the field.

export const isAbsent = (value: unknown): boolean => value === undefined || value === null;

/** The type that the value should have; undefined if it has it. */
export function wrongType(schema: Schema, value: unknown): string | undefined {
  if (schema["x-kubernetes-int-or-string"] === true)
    return typeof value === "string" || Number.isInteger(value) ? undefined : "an integer or a string";
  const { type } = schema;
  const known = type === undefined ? undefined : types.get(type);
  if (known === undefined || known.has(value)) return undefined;
  return isForDurations(schema) ? durationNamed : known.named;
}

/** Durations in messages of Istio, as Go's time.ParseDuration reads them, with which golang/protobuf jsonpb decodes them. */
export const messageDuration = "^[-+]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";

/** Durations of Istio's kinds have a rule, and those of the Gateway API a pattern. */
const isForDurations = (schema: Schema): boolean =>
  hasDurationRule(schema) || schema.pattern === "^([0-9]{1,5}(h|m|s|ms)){1,4}$" || schema.pattern === messageDuration;

const hasDurationRule = ({ "x-kubernetes-validations": rules = [] }: Schema): boolean =>
  rules.some(({ message }) => message === "must be a valid duration greater than 1ms");

const types = new Map<string, { readonly named: string; has(value: unknown): boolean }>([
  ["object", { named: "an object", has: isObject }],
  ["array", { named: "a list", has: Array.isArray }],
  ["string", { named: "a string", has: (value) => typeof value === "string" }],
  ["boolean", { named: "a boolean", has: (value) => typeof value === "boolean" }],
  ["integer", { named: "an integer", has: Number.isInteger }],
  ["number", { named: "a number", has: (value) => typeof value === "number" && Number.isFinite(value) }],
]);

/** A bound that the value is beyond: `must not be more than 65535`. */
export interface Beyond {
  readonly message: string;
  /** Bounds of counts are raised from version to version. */
  readonly isCount: boolean;
}

export function boundOf(schema: Schema, value: unknown): Beyond | undefined {
  if (typeof value === "number") return numberBound(schema, value);
  if (typeof value === "string") return textBound(schema, value);
  if (Array.isArray(value)) return countBound(value.length, [schema.minItems, schema.maxItems], ["item", "items"]);
  if (isObject(value) && (schema.minProperties ?? schema.maxProperties) !== undefined)
    return countBound(entriesOf(value), [schema.minProperties, schema.maxProperties], ["entry", "entries"]);
  return undefined;
}

/** Entries without a value are dropped. */
const entriesOf = (value: Record<string, unknown>): number =>
  Object.values(value).filter((one) => !isAbsent(one)).length;

function numberBound(schema: Schema, value: number): Beyond | undefined {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum, exclusiveMaximum } = schema;
  if (value < minimum) return beyond(`must be at least ${minimum}, not ${value}`);
  if (value > maximum) return beyond(`must be at most ${maximum}, not ${value}`);
  if (exclusiveMinimum === true && value === minimum) return beyond(`must be more than ${minimum}`);
  if (exclusiveMaximum === true && value === maximum) return beyond(`must be less than ${maximum}`);
  return formatBound(schema, value);
}

/** `IsValueValidAgainstRange` of `kube-openapi/pkg/validation/validate/values.go`. */
function formatBound({ format = "" }: Schema, value: number): Beyond | undefined {
  const range = ranges.get(format);
  return range === undefined || (value >= range[0] && value <= range[1])
    ? undefined
    : beyond(`must be a number of the format ${format}, and ${value} is outside its range`);
}

/**
 * The formats of texts that definitions of Istio and of the Gateway API have, of those that the API server checks
 * (`apiextensions-apiserver/pkg/apiserver/validation/formats.go`, `kube-openapi/pkg/validation/strfmt`).
 */
const formats = new Map<string, { readonly named: string; has(text: string): boolean }>([
  // Zeros before a number are allowed, as Go did up to version 1.16.
  [
    "ipv4",
    {
      named: "an IPv4 address",
      has: (text) => text.includes(".") && isIP(text.replaceAll(/(?<=^|[.:])0+(?=\d)/g, "")) > 0,
    },
  ],
  ["ipv6", { named: "an IPv6 address", has: (text) => isIPv6(text) && !text.includes("%") }],
  ["byte", { named: "in base64", has: isBase64 }],
]);

/** The formats that the API server checks, and this does not. */
export const uncheckedFormats: ReadonlySet<string> = new Set([
  ...["bsonobjectid", "uri", "email", "hostname", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5", "date", "duration"],
  ...[
    "datetime",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "k8s-short-name",
    "k8s-long-name",
  ],
]);

const ranges = new Map<string, readonly [number, number]>([
  ["int32", [-(2 ** 31), 2 ** 31 - 1]],
  ["uint32", [0, 2 ** 32 - 1]],
]);

function textBound(schema: Schema, value: string): Beyond | undefined {
  const { pattern } = schema;
  const format = formats.get(schema.format ?? "");
  if (format !== undefined && !format.has(value)) return beyond(`must be ${format.named}`);
  if (hasDurationRule(schema) && !isDuration(value)) return beyond(notDuration);
  const length = lengthBound(schema, value);
  if (length !== undefined) return beyond(length);
  return pattern === undefined ? undefined : patternBound(pattern, value);
}

function patternBound(pattern: string, value: string): Beyond | undefined {
  if (pattern === messageDuration)
    return isMessageDuration(value) ? undefined : beyond("must be a duration, such as 10s or 1h30m");
  return matches(pattern, value) ? undefined : beyond(`must match the pattern ${pattern}`);
}

/** The pattern does not say how long a duration can be. */
export const isMessageDuration = (value: string): boolean => nanosecondsOf(value) !== undefined;

/** What is shorter than 1ms is found by the rule itself. */
const isDuration = (value: string): boolean => (nanosecondsOf(value) ?? 0n) > 0n;
const notDuration = "must be a duration of at least 1ms, such as 10s or 1h30m";

/** Lengths are counted in characters, as Go counts runes. */
function lengthBound({ minLength = 0, maxLength = Infinity }: Schema, value: string): string | undefined {
  if (minLength === 0 && value.length <= maxLength) return undefined;
  const length = value.length > 100_000 ? value.length : [...value].length;
  if (length === 0) return "must not be empty";
  if (length < minLength) return `must have at least ${minLength} characters, not ${length}`;
  return length > maxLength ? `must have at most ${maxLength} characters, not ${length}` : undefined;
}

function countBound(
  count: number,
  [least = 0, most = Infinity]: readonly (number | undefined)[],
  [one, many]: readonly [string, string],
): Beyond | undefined {
  if (count < least) return beyond(`must have at least ${counted(least, one, many)}, not ${count}`);
  if (count <= most) return undefined;
  return { message: `must have at most ${counted(most, one, many)}, not ${count}`, isCount: true };
}

const beyond = (message: string): Beyond => ({ message, isCount: false });
