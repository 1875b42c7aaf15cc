import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv } from "ajv";
import fc from "fast-check";
import { formProblems } from "../../src/policy/form-problems.ts";
import { meshwardIntentSchema } from "../../src/policy/intent-schema.ts";
import type { JsonSchema } from "../../src/policy/json-schema.ts";
import { meshwardExceptionSchema, meshwardPolicySchema } from "../../src/policy/schema.ts";
import { inDocumentOrder, schemaProblems } from "../../src/policy/schema-problems.ts";
import { policyTestSchema } from "../../src/policy-tests/schema.ts";
import { projectSchema } from "../../src/project/schema.ts";
import { rules } from "../../src/rules/index.ts";

// The parameters of a rule are compiled when a policy first sets them; what that finds is what the published schema, which has
// those of all rules, finds. The schemas are validated here, because Meshward uses them without validating them.

const strict = (schema: JsonSchema) =>
  new Ajv({
    ...{ allErrors: true, verbose: true, ownProperties: true },
    ...{ strict: true, allowUnionTypes: true, strictRequired: false },
  }).compile(schema);

test("the schemas of all documents are right", () => {
  for (const schema of [meshwardExceptionSchema(rules), meshwardIntentSchema(), policyTestSchema(), projectSchema()])
    assert.equal(strict(schema)(3), false);
});

const parameterNames = [...new Set(rules.flatMap(({ parameters }) => Object.keys(parameters)))];
const junk = fc.oneof(
  fc.constantFrom(null, true, false, 0, -1, 1.5, Number.NaN, "", " ", "a", "*", "off", "deny", [], [1], ["a"], {}),
  fc.record({ a: fc.constantFrom(1, "a"), toString: fc.constant(1) }, { requiredKeys: ["a"] }),
);
const rare = (usual: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: usual, weight: 5 }, { arbitrary: junk, weight: 1 });
const ids = fc.oneof(
  fc.constantFrom(...rules.map(({ id }) => id)),
  fc.constantFrom("*", "gateway-*", "**", "no-such", "own/rule", "constructor", "__proto__"),
);
const someParameters = fc.uniqueArray(fc.constantFrom(...parameterNames, "maxstep", "__proto__"), { maxLength: 3 });
const ofItsOwn = (id: unknown) => Object.keys(rules.find((rule) => rule.id === id)?.parameters ?? {});
const entries = fc.tuple(rare(ids), someParameters).chain(([id, others]) => {
  const set = fc.record(Object.fromEntries([...ofItsOwn(id), ...others].map((name) => [name, junk])));
  const [parameters, mode] = [rare(set), rare(fc.constantFrom("deny", "warn", "audit", "off"))];
  const fields = { id: fc.constant(id), tag: rare(fc.constantFrom("mtls", "custom", "mtsl")), mode, parameters };
  return fc.record({ ...fields, message: rare(fc.constant("Ask the team.")), ids: junk }, { requiredKeys: [] });
});
const spec = fc.record(
  {
    rules: rare(fc.array(rare(entries), { maxLength: 4 })),
    match: rare(fc.record({ namespaces: rare(fc.record({ names: rare(fc.constant(["shop"])), labels: junk })) })),
    ...{ extends: junk, protectedNamespaces: junk, hostOwners: junk, exceptions: junk, mutations: junk },
    customRules: rare(fc.array(fc.record({ id: junk, kinds: junk, expression: junk }, { requiredKeys: [] }))),
    other: junk,
  },
  { requiredKeys: ["rules"] },
);
const policies = fc.record({
  apiVersion: rare(fc.constant("meshward.io/v1alpha1")),
  kind: fc.constant("MeshwardPolicy"),
  metadata: rare(fc.record({ name: rare(fc.constant("a")) })),
  spec: rare(spec),
});

test("a policy has the problems that the published schema finds, in the same order", () => {
  const validate = strict(meshwardPolicySchema(rules));
  let ofParameters = 0;
  fc.assert(
    fc.property(policies, (raw) => {
      const expected = validate(raw) ? [] : schemaProblems(validate.errors ?? []);
      const found = formProblems("MeshwardPolicy", raw, rules);
      assert.deepEqual(inDocumentOrder(raw, found), inDocumentOrder(raw, expected));
      if (expected.some(({ at }) => at[3] === "parameters")) ofParameters++;
    }),
    { numRuns: 1_000 },
  );
  assert.ok(ofParameters > 300, `only ${ofParameters} policies have problems in parameters`);
});
