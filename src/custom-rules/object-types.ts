import { type ExpressionType, mapOf, type RecordType, types } from "../cel/expression-types.ts";
import type { FieldUse } from "../kube/kept-fields.ts";
import type { Schema } from "../schemas/schema.ts";

export interface SchemaPlace {
  readonly title: string;
  readonly use: FieldUse | undefined;
}

/**
 * The type of JSON values with a schema. A field of type `number` may hold an int in CEL, because JSON does not tell 1 from 1.0,
 * so nothing is checked about it.
 */
export function typeOfSchema(schema: Schema | undefined, { title, use }: SchemaPlace): ExpressionType {
  if (schema === undefined) return { kind: "dyn", use };
  const { properties, items, additionalProperties } = schema;
  if (schema.type === "array")
    return { kind: "list", item: typeOfSchema(items, { title: `${title}[]`, use: use?.item() }), use };
  if (properties !== undefined) return recordOf(properties, { title, use });
  if (typeof additionalProperties === "object")
    return { kind: "map", value: typeOfSchema(additionalProperties, { title: `${title}[]`, use: undefined }), use };
  const known = scalars.get(schema.type ?? "");
  return known !== undefined && schema["x-kubernetes-int-or-string"] !== true ? known : { kind: "dyn", use };
}

const scalars: ReadonlyMap<string, ExpressionType> = new Map([
  ["string", types.string],
  ["integer", types.int],
  ["boolean", types.bool],
]);

function recordOf(properties: NonNullable<Schema["properties"]>, { title, use }: SchemaPlace): RecordType {
  return {
    kind: "record",
    title,
    names: Object.keys(properties),
    field: (name) =>
      Object.hasOwn(properties, name)
        ? typeOfSchema(properties[name], { title: title === "" ? name : `${title}.${name}`, use: use?.field(name) })
        : undefined,
    use,
  };
}

