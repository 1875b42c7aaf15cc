// What the schemas of documents are written with: each part has a description, and every text that is required is not empty.

/** A JSON Schema (draft-07), as plain JSON. */
export type JsonSchema = { readonly [keyword: string]: unknown };

export const globNote = "`*` stands for any characters";
export const text = (description: string, pattern = "\\S"): JsonSchema => ({ type: "string", pattern, description });
export const choice = (values: readonly string[], description: string): JsonSchema => ({
  type: "string",
  enum: values,
  description,
});
export const list = (items: JsonSchema, description: string): JsonSchema => ({
  type: "array",
  minItems: 1,
  items,
  description,
});
export const names = (of: string): JsonSchema =>
  list(text(`A name; ${globNote}.`), `${of}; ${globNote}. One match is enough.`);
export const labels: JsonSchema = {
  type: "object",
  minProperties: 1,
  additionalProperties: { type: "string", description: "The value that the label must have." },
  description: "Labels with their values. All of them must match.",
};

export function record(
  description: string,
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = [],
): JsonSchema {
  return {
    type: "object",
    additionalProperties: false,
    ...(required.length > 0 ? { required } : {}),
    properties,
    description,
  };
}

/** Titles of schemas, by which schema-problems.ts recognizes them to word an error. */
export const titles = {
  rule: "rule",
  tag: "tag",
  kind: "kind",
  expiry: "expiry",
  parameters: "parameters of",
} as const;
