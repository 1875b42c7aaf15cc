import { type ExpressionType, type RecordType, textOf, types } from "../cel/expression-types.ts";
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
  const known = textsOf(schema) ?? scalars.get(schema.type ?? "");
  return known !== undefined && schema["x-kubernetes-int-or-string"] !== true ? known : { kind: "dyn", use };
}

const scalars: ReadonlyMap<string, ExpressionType> = new Map([
  ["string", types.string],
  ["integer", types.int],
  ["boolean", types.bool],
]);

/** A text of which the definition names all values. */
function textsOf({ type, enum: values = [] }: Schema): ExpressionType | undefined {
  const texts = values.filter((value) => typeof value === "string");
  return type === "string" && texts.length > 0 ? textOf(texts) : undefined;
}

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

const text = { type: "string" } as const;
const texts = { type: "object", additionalProperties: text } as const;

/** The metadata of every object. `managedFields` is left out, because no rule is about it and it is often most of an object. */
const metadata: Schema = {
  type: "object",
  properties: {
    name: text,
    generateName: text,
    namespace: text,
    uid: text,
    resourceVersion: text,
    generation: { type: "integer" },
    creationTimestamp: text,
    deletionTimestamp: text,
    deletionGracePeriodSeconds: { type: "integer" },
    labels: texts,
    annotations: texts,
    finalizers: { type: "array", items: text },
    ownerReferences: {
      type: "array",
      items: {
        type: "object",
        properties: {
          apiVersion: text,
          kind: text,
          name: text,
          uid: text,
          controller: { type: "boolean" },
          blockOwnerDeletion: { type: "boolean" },
        },
      },
    },
  },
};

/** An object of a kind with this schema; without one, nothing in its spec is checked. */
export function typeOfObject(schema: Schema | undefined, use: FieldUse): ExpressionType {
  const { metadata: _metadata, status, ...fields } = schema?.properties ?? { spec: {}, data: {} };
  // The schemas of Kubernetes' own kinds have no status here.
  const properties = { ...fields, status: status ?? {}, metadata, apiVersion: text, kind: text };
  return typeOfSchema({ type: "object", properties }, { title: "", use });
}

const plain = (properties: NonNullable<Schema["properties"]>, title: string): RecordType =>
  recordOf(properties, { title, use: undefined });

/** What is known of the Namespace of an object. */
export const typeOfNamespace: ExpressionType = plain(
  {
    metadata: { type: "object", properties: { name: text, labels: texts, annotations: texts } },
    status: { type: "object", properties: { phase: text } },
  },
  "namespaceObject",
);

/** What is known of a request (k8s.io/api admission/v1 AdmissionRequest). */
const requestFields = plain(
  {
    operation: text,
    name: text,
    namespace: text,
    kind: { type: "object", properties: { group: text, version: text, kind: text } },
    userInfo: { type: "object", properties: { username: text, groups: { type: "array", items: text } } },
  },
  "request",
);

/** An expression that compares with an operation which no rule is asked about would never do what it says. */
const operation = textOf(
  ["CREATE", "UPDATE"],
  new Map([
    ["DELETE", "rules of policies are not asked about deletions"],
    ["CONNECT", "rules of policies are not asked about connections"],
  ]),
);

export const typeOfRequest: ExpressionType = {
  ...requestFields,
  field: (name) => (name === "operation" ? operation : requestFields.field(name)),
};
