import type { Invalid } from "../kube/invalid.ts";
import { parseFields } from "../kube/mesh-config.ts";
import { isObject, type Malformed, member, type Path } from "../kube/read.ts";
import { checkFields } from "./check-fields.ts";
import { isDecoded, numberOf } from "./message-types.ts";
import { publishedMeshConfig } from "./published.ts";
import type { Schema } from "./schema.ts";

export const placeOfMeshConfig = ["data", "mesh"] as const;
/** What a value does that istiod refuses. */
export const notUsed = {
  fix: "Correct the field: with such a value, istiod uses nothing of the mesh config, but the last one that it could read, and after a restart its defaults",
} as const;

/** A mesh config as istiod decodes it, and what it does not decode or ignores. */
export interface DecodedMeshConfig {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly faults: readonly Invalid[];
}

/**
 * Decodes the mesh config of a ConfigMap. With a value of another type, istiod uses nothing of it; a field that it does not know is
 * ignored (Istio pkg/config/mesh/mesh.go ApplyMeshConfig, pkg/util/protomarshal ApplyJSON). Undefined if it is no object: the reader
 * reports YAML that cannot be parsed. Never throws.
 */
export function decodedMeshConfig(raw: unknown): DecodedMeshConfig | undefined {
  const text = member(member(raw, "data"), "mesh");
  if (typeof text !== "string") return undefined;
  const malformed: Malformed[] = [];
  const parsed = parseFields(text, "mesh config", malformed);
  if (malformed.length > 0 || !isObject(parsed)) return undefined;
  const schema = withOtherNames(publishedMeshConfig());
  try {
    const fields = asDecoded(parsed, schema) as Record<string, unknown>;
    const faults = checkFields(fields, schema, false).map((fault): Invalid => {
      const isIgnored = !isKnown(fault.at, schema);
      return { ...fault, at: [...placeOfMeshConfig, ...fault.at], ...(isIgnored ? { isIgnored: true } : notUsed) };
    });
    return { fields, faults: [...faults, ...[...otherNames.keys()].flatMap((name) => ignoredName(fields, name))] };
  } catch (error) {
    // It is nested too deeply, and istiod would not read it either.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * Fields that istiod decodes by either name, and then takes from the text by the second alone (Istio pkg/config/mesh/mesh.go
 * extractYamlField).
 */
const otherNames = new Map([
  ["default_config", "defaultConfig"],
  ["default_providers", "defaultProviders"],
]);

function withOtherNames(schema: Schema): Schema {
  const { properties = {} } = schema;
  const others = [...otherNames].map(([name, read]) => [name, properties[read] ?? {}] as const);
  return { ...schema, properties: { ...properties, ...Object.fromEntries(others) } };
}

function ignoredName(fields: DecodedMeshConfig["fields"], name: string): readonly Invalid[] {
  if (!isObject(fields[name])) return [];
  const message = `istiod reads this field only as ${JSON.stringify(otherNames.get(name))}`;
  return [{ at: [...placeOfMeshConfig, name], message, isIgnored: true }];
}

/**
 * The fields as istiod decodes them (message-types.ts): numbers in quotes, and numbers of an enum. An item of a list that is null is an
 * empty one.
 */
function asDecoded(value: unknown, schema: Schema | undefined): unknown {
  if (schema === undefined) return value;
  if (Array.isArray(value)) return value.map((item) => asDecoded(item ?? emptyOf(schema.items), schema.items));
  if (isObject(value))
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [name, asDecoded(inner, below(schema, name))]),
    );
  if (!isDecoded(value, schema)) return value;
  if (schema.enum !== undefined && typeof value === "number") return schema.enum[0];
  return schema.type === "integer" || schema.type === "number" ? (numberOf(value) ?? 0) : value;
}

const emptyOf = (schema: Schema | undefined): unknown => (schema?.type === "object" ? {} : (schema?.enum?.[0] ?? ""));

function isKnown(at: Path, schema: Schema): boolean {
  let inner: Schema | undefined = schema;
  for (const step of at) inner = inner && (typeof step === "number" ? inner.items : below(inner, step));
  return inner !== undefined;
}

function below({ properties, additionalProperties }: Schema, name: string): Schema | undefined {
  if (properties !== undefined && Object.hasOwn(properties, name)) return properties[name];
  return typeof additionalProperties === "object" ? additionalProperties : undefined;
}
