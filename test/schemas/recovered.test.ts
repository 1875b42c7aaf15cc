import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { kubernetesKinds, readValidator, validatorFolders } from "../../src/schemas/kubernetes-kinds.ts";
import { checkFields } from "../../src/schemas/check-fields.ts";
import { schemaOfValidator } from "../../src/schemas/compiled-validators.ts";
import { SchemaList, schemaAt } from "../../src/schemas/interned.ts";
import type { Schema } from "../../src/schemas/schema.ts";

// The schemas that are recovered from compiled validators, against the validators themselves.

type Validate = (value: unknown) => boolean;

const kindFiles = validatorFolders().flatMap((folder) =>
  readdirSync(folder)
    .filter((file) =>
      /^IoK8sApi(?:(?:Core|Apps|Batch|Networking)V1)(?:Pod|Service|Namespace|ReplicationController|Deployment|StatefulSet|DaemonSet|ReplicaSet|Job|CronJob|NetworkPolicy|Ingress|IngressClass)\.js$/.test(
        file,
      ),
    )
    .map((file) => ({ folder, file })),
);

const odd = fc.constantFrom<unknown[]>(
  "",
  "x",
  "STRICT",
  "a b",
  "x".repeat(70),
  0,
  1,
  -1,
  1.5,
  70_000,
  true,
  [],
  {},
  [1],
  { a: 1 },
);

/** Values that the schema mostly accepts. Metadata is left out, and no value is null, which the API server drops. */
function valueFor(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
  // A format of the packages that no custom resource has.
  if ([schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].some(({ format }) => format === "quantity"))
    return fc.constantFrom("1", "500m");
  return fc.oneof({ weight: 12, arbitrary: likely(schema, depth) }, { weight: 1, arbitrary: odd });
}

function likely(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined && schema.type === undefined)
    return fc.oneof(...schema.anyOf.map((one) => likely(one, depth)));
  if (schema.items !== undefined)
    return fc.array(valueFor(schema.items, depth + 1), { minLength: Math.min(schema.minItems ?? 0, 2), maxLength: 2 });
  if (schema.properties !== undefined) return objectFor(schema, depth);
  if (typeof schema.additionalProperties === "object")
    return fc.dictionary(fc.constantFrom("a", "b"), valueFor(schema.additionalProperties, depth + 1));
  return scalars.get(schema.type ?? "") ?? odd;
}

const scalars = new Map<string, fc.Arbitrary<unknown>>([
  ["string", fc.constantFrom("a", "a", "a", "b", "c", "https", "b.c", "/d", "10s", "PathPrefix", "a/b", "80")],
  ["boolean", fc.boolean()],
  ["integer", fc.constantFrom(0, 1, 80, 500, 65_535)],
  ["number", fc.constantFrom(0, 0.5, 100)],
  ["object", fc.constantFrom({}, { a: 1 })],
]);

function objectFor({ properties = {}, required = [] }: Schema, depth: number): fc.Arbitrary<unknown> {
  const names = Object.keys(properties).filter((name) => name !== "metadata" && name !== "status");
  if (depth > 8) return fc.constant({});
  return fc.subarray(names, { maxLength: Math.min(3, names.length) }).chain((chosen) => {
    const all = new Set([
      ...chosen,
      ...required.filter((name) => names.includes(name)),
      ...(depth === 0 ? ["spec"] : []),
    ]);
    return fc.record(Object.fromEntries([...all].map((name) => [name, valueFor(properties[name] ?? {}, depth + 1)])));
  });
}

describe("schemas that are recovered from validators", () => {
  test("of all kinds of Kubernetes that rules read", () => assert.ok(kindFiles.length > 10, String(kindFiles.length)));

  for (const { folder, file } of kindFiles)
    test(`${file} accepts what its validator accepts`, async () => {
      const { validate } = (await import(pathToFileURL(join(folder, file)).href)) as { validate: Validate };
      const schema = schemaOfValidator(file, readValidator);
      const constants = Object.fromEntries(
        ["apiVersion", "kind"].map((name) => [name, schema.properties?.[name]?.enum?.[0]]),
      );
      let accepted = 0;
      fc.assert(
        fc.property(objectFor(schema, 0), (value) => {
          const raw = { ...(value as object), ...constants };
          const faults = checkFields(raw, schema, true).filter(({ message }) => !message.startsWith("Unknown field"));
          const isAccepted = validate(raw);
          if (isAccepted) accepted++;
          assert.equal(faults.length === 0, isAccepted, JSON.stringify({ raw, faults }));
        }),
        { numRuns: 150, seed: 7 },
      );
      assert.ok(accepted > 0, "no generated object is valid");
    });

  test("survive being collected", () => {
    const list = new SchemaList();
    const places = kubernetesKinds().map(({ schema }) => [schema(), list.add(schema())] as const);
    for (const [schema, place] of places) assert.deepEqual(schemaAt(list.schemas, place), schema);
    assert.ok(list.schemas.length < 3000, String(list.schemas.length));
  });

  test("a validator of another form is refused", () => {
    const read = (code: string) => () => code;
    assert.throws(() => schemaOfValidator("a.js", read("")), /a\.js exports no validator/);
    assert.throws(() => schemaOfValidator("a.js", read("export const validate=validate0;")), /no function validate0/);
    const unknown =
      'export const validate=validate0;function validate0(data,{}){let e={keyword:"maximum",params:{limit:most}}}';
    assert.throws(() => schemaOfValidator("a.js", read(unknown)), /the value of maximum is not a constant: most/);
  });
});
