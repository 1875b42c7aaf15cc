import { isObject } from "../kube/read.ts";
import type { JsonSchema } from "./json-schema.ts";
import { titles } from "./json-schema.ts";

/** The keywords that a structural schema of Kubernetes may have, and that mean the same there. */
const kept = new Set(
  "type description default enum pattern minimum maximum minLength maxLength minItems maxItems minProperties required".split(
    " ",
  ),
);

/** Values that follow from the version of Meshward, which may be newer than the definition in the cluster. */
const ofVersion: ReadonlySet<unknown> = new Set([titles.rule, titles.tag, titles.kind]);

/**
 * A JSON Schema of a document as a structural schema of a CustomResourceDefinition (OpenAPI v3, without CEL). What such a
 * schema cannot say, such as which parameters a rule has, and names of rules, are checked by Meshward at admission.
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
 */
export function structural(schema: JsonSchema): JsonSchema {
  const { title, const: only, properties, items, additionalProperties } = schema;
  const result: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema))
    if (kept.has(keyword) && !(keyword === "enum" && ofVersion.has(title))) result[keyword] = value;
  if (only !== undefined) Object.assign(result, { type: typeof only, enum: [only] });
  if (isObject(items)) result["items"] = structural(items);
  if (isObject(properties))
    result["properties"] = Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, structural(property as JsonSchema)]),
    );
  else if (isObject(additionalProperties)) result["additionalProperties"] = structural(additionalProperties);
  else if (result["type"] === "object") result["x-kubernetes-preserve-unknown-fields"] = true;
  return result;
}
