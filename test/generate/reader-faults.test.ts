import assert from "node:assert/strict";
import { test } from "node:test";
import { readerFaults, unknownFields } from "../../src/generate/reader-faults.ts";
import { fingerprint, list, map, optional, record, text } from "../../src/kube/read.ts";
import type { Schema } from "../../src/schemas/schema.ts";

const schema: Schema = {
  type: "object",
  properties: {
    spec: {
      type: "object",
      properties: {
        host: { type: "string" },
        routes: { type: "array", items: { type: "object", properties: { name: { type: "string" } } } },
        ports: { type: "object", additionalProperties: { type: "object", properties: { mode: { type: "string" } } } },
        patch: { type: "object", properties: { value: { type: "object" } } },
      },
    },
  },
};

test("every field that a reader asks for is in the definition of its kind", () => {
  assert.deepEqual(readerFaults(), []);
});

test("a misspelt field is found at every depth", () => {
  const right = record({
    spec: record({
      host: text,
      routes: list(record({ name: text })),
      ports: map(optional(record({ mode: text }))),
      patch: fingerprint,
    }),
  });
  assert.deepEqual(
    unknownFields(schema, (raw) => right(raw, [])),
    [],
  );
  const wrong = record({
    spec: record({ hots: text, routes: list(record({ nmae: text })), ports: map(optional(record({ mod: text }))) }),
    specs: text,
  });
  assert.deepEqual(
    unknownFields(schema, (raw) => wrong(raw, [])),
    ["spec.hots", "spec.routes[].nmae", "spec.ports.key.mod", "specs"],
  );
});
