import type { RuleMetadata } from "./documents.ts";
import { meshwardIntentSchema } from "./intent-schema.ts";
import { choice, type JsonSchema } from "./json-schema.ts";
import { meshwardExceptionSchema, meshwardPolicySchema } from "./schema.ts";

/** The schema of a document of any kind, for editors and CI, written to `policies/policy.schema.json`. */
export function policySchema(rules: readonly RuleMetadata[]): JsonSchema {
  const { $schema, ...policy } = meshwardPolicySchema(rules);
  const { $schema: _ofException, ...exception } = meshwardExceptionSchema(rules);
  const { $schema: _ofIntent, ...intent } = meshwardIntentSchema();
  return {
    $schema,
    title: "MeshwardPolicy, MeshwardException or MeshwardIntent",
    type: "object",
    required: ["kind"],
    properties: {
      kind: choice(["MeshwardPolicy", "MeshwardException", "MeshwardIntent"], "The kind of document."),
    },
    ...whereKind("MeshwardException", exception, whereKind("MeshwardIntent", intent, policy)),
  };
}

const whereKind = (kind: string, schema: JsonSchema, others: JsonSchema): JsonSchema => ({
  if: { type: "object", properties: { kind: { const: kind } } },
  // oxlint-disable-next-line unicorn/no-thenable
  then: schema,
  else: others,
});
