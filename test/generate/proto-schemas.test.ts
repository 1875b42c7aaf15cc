import assert from "node:assert/strict";
import { test } from "node:test";
import { schemaOfMessage } from "../../src/generate/proto-schemas.ts";

const common = `
syntax = "proto3";
package a.v1;
// A message; with { a brace.
message Port { /* a "comment" } */ uint32 number = 1; }
`;
const file = (members: string) => [
  common,
  `syntax = "proto3"; package b.v1; import "a.proto"; option x = "{"; message M { ${members} }`,
];
const fieldsOf = (members: string) => schemaOfMessage(file(members), "b.v1.M").properties;

test("fields have their names in JSON and their types", () => {
  assert.deepEqual(
    fieldsOf(
      'string a_name = 1; repeated bool flags = 2 [deprecated = true]; map<string, int32> by_key = 3; reserved 4, 5; reserved "old";',
    ),
    {
      aName: { type: "string" },
      flags: { type: "array", items: { type: "boolean" } },
      byKey: { type: "object", additionalProperties: { type: "integer", format: "int32" } },
    },
  );
});

test("names are looked up in the message, then in what contains it, and in other files", () => {
  const port = { type: "object", properties: { number: { type: "integer", format: "uint32" } } };
  const members =
    "message Inner { enum Mode { OFF = 0; ON = 1; } Mode mode = 1; } oneof what { Inner inner = 1; a.v1.Port port = 2; } Inner.Mode mode = 3;";
  assert.deepEqual(fieldsOf(members), {
    inner: { type: "object", properties: { mode: { enum: ["OFF", "ON"] } } },
    port,
    mode: { enum: ["OFF", "ON"] },
  });
});

test("well-known types have the form that they have in JSON", () => {
  const fields = fieldsOf(
    "google.protobuf.BoolValue a = 1; google.protobuf.Struct b = 2; google.protobuf.Duration c = 3;",
  );
  assert.deepEqual(fields?.["a"], { type: "boolean" });
  assert.deepEqual(fields?.["b"], { type: "object", "x-kubernetes-preserve-unknown-fields": true });
  const pattern = new RegExp(fields?.["c"]?.pattern ?? "");
  for (const [text, is] of [
    ["10s", true],
    ["1h30m", true],
    ["-1.5s", true],
    ["0", true],
    ["10", false],
    ["1d", false],
    ["", false],
  ] as const)
    assert.equal(pattern.test(text), is, text);
});

test("what is not understood is an error", () => {
  assert.throws(() => fieldsOf("Other a = 1;"), /the type Other of b\.v1\.M is not defined/);
  assert.throws(() => fieldsOf("google.protobuf.Any a = 1;"), /the type google\.protobuf\.Any is not known/);
  assert.throws(() => fieldsOf("M a = 1;"), /the message b\.v1\.M contains itself/);
  assert.throws(() => fieldsOf("message Inner {"), /the definition ends within a statement/);
  assert.throws(() => schemaOfMessage([common], "a.v1.None"), /the message a\.v1\.None is not defined/);
});
