import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isObject } from "../../src/kube/read.ts";
import { definitionIn, isDefinition, type KindDefinition } from "../../src/schemas/definitions.ts";
import { Schemas } from "../../src/schemas/schemas.ts";
import { publishedKinds } from "../../src/schemas/published.ts";
import { unsupportedIn } from "../../src/schemas/unsupported.ts";
import { brokenRules } from "../../src/schemas/validation-rules.ts";

const group = "networking.istio.io";

function definitionOf(schema: unknown): KindDefinition | string | undefined {
  return definitionIn({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    spec: { group, names: { kind: "Sample" }, versions: [{ name: "v1", schema: { openAPIV3Schema: schema } }] },
  });
}

/** What is said about a value of `spec`, under a schema of it. */
function said(spec: unknown, schema: unknown): readonly string[] {
  const definition = definitionOf({ type: "object", properties: { spec: schema } });
  assert.ok(typeof definition === "object", JSON.stringify(definition));
  const raw = { apiVersion: `${group}/v1`, kind: "Sample", metadata: { name: "a" }, spec };
  return new Schemas([definition], brokenRules)
    .faultsOf(raw)
    .map(({ at, message }) => `${at.slice(1).join(".")}: ${message}`);
}

describe("values", () => {
  const text = { type: "string" };
  for (const [title, schema, right, wrong, message] of [
    ["an integer", { type: "integer" }, 1, 1.5, ": The field must be an integer, not 1.5"],
    ["a number", { type: "number" }, 1.5, "1.5", ': The field must be a number, not "1.5"'],
    ["a boolean", { type: "boolean" }, false, "no", ': The field must be a boolean, not "no"'],
    ["a list", { type: "array", items: text }, ["a"], "a", ': The field must be a list, not "a"'],
    ["an item", { type: "array", items: text }, ["a"], ["a", null], "1: The field must be a string, not null"],
    [
      "an entry",
      { type: "object", additionalProperties: text },
      { a: "b" },
      { a: 1 },
      "a: The field must be a string, not 1",
    ],
    ["a least number", { type: "integer", minimum: 1 }, 1, 0, ": The field must be at least 1, not 0"],
    [
      "a number above",
      { type: "integer", minimum: 1, exclusiveMinimum: true },
      2,
      1,
      ": The field must be more than 1",
    ],
    [
      "a number below",
      { type: "integer", maximum: 9, exclusiveMaximum: true },
      8,
      9,
      ": The field must be less than 9",
    ],
    [
      "an unsigned integer",
      { type: "integer", format: "uint32" },
      2 ** 32 - 1,
      2 ** 32,
      ": The field must be a number of the format uint32, and 4294967296 is outside its range",
    ],
    [
      "a length in characters",
      { type: "string", maxLength: 1 },
      "😀",
      "ab",
      ": The field must have at most 1 characters, not 2",
    ],
    [
      "an address",
      { type: "string", anyOf: [{ format: "ipv4" }, { format: "ipv6" }] },
      "fd00::1",
      "10.0.0",
      ": The field has a value or a combination of fields that the schema excludes",
    ],
    [
      "an IPv4 address with zeros",
      { type: "string", format: "ipv4" },
      "010.0.00.001",
      "010.0.00.0001.1",
      ": The field must be an IPv4 address",
    ],
    [
      "distinct items",
      { type: "array", items: text, "x-kubernetes-list-type": "set" },
      ["a", "b"],
      ["a", "b", "a"],
      "2: The item is the same as item 0",
    ],
    ["a text that is not empty", { type: "string", minLength: 1 }, "a", "", ": The field must not be empty"],
    [
      "the number of items",
      { type: "array", items: text, maxItems: 1 },
      ["a"],
      ["a", "b"],
      ": The field must have at most 1 item, not 2",
    ],
    [
      "the number of entries",
      { type: "object", additionalProperties: text, minProperties: 1 },
      { a: "b" },
      {},
      ": The field must have at least 1 entry, not 0",
    ],
    [
      "one of several fields",
      { type: "object", properties: { a: text, b: text }, oneOf: [{ required: ["a"] }, { required: ["b"] }] },
      { a: "" },
      {},
      ': The field must have one of the fields "a" or "b"',
    ],
    [
      "fields that exclude each other",
      { type: "object", properties: { a: text, b: text }, not: { required: ["a", "b"] } },
      { b: "" },
      { a: "", b: "" },
      ': The field must have only one of the fields "a" or "b", and has "a" and "b"',
    ],
    [
      "all of several schemas",
      { type: "string", allOf: [{ maxLength: 2 }, { pattern: "^a" }] },
      "ab",
      "b",
      ": The field has a value or a combination of fields that the schema excludes",
    ],
    [
      "a default for a required field",
      { type: "object", required: ["a"], properties: { a: { ...text, default: "" } } },
      {},
      { a: 1 },
      "a: The field must be a string, not 1",
    ],
    [
      "a name that every object inherits",
      { type: "object", properties: { a: text } },
      { a: "" },
      { constructor: 1 },
      'constructor: Unknown field "constructor": the fields here are a',
    ],
  ] as const)
    test(title, () => {
      assert.deepEqual(said(right, schema), []);
      assert.deepEqual(said(wrong, schema), [message]);
    });

  test("a default decides between alternatives, and an entry without a value does not count", () => {
    const type = { ...text, default: "a" };
    const alternatives = [{ properties: { type: { enum: ["a"] } } }, { properties: { type: { enum: ["b"] } } }];
    const schema = { type: "array", items: { type: "object", properties: { type, value: text }, oneOf: alternatives } };
    assert.deepEqual(said([{ value: "v" }, { type: "b" }], schema), []);
    assert.deepEqual(said([{ type: "c" }], schema).length, 1);
    const entries = { type: "object", additionalProperties: text, minProperties: 1 };
    assert.deepEqual(said({ a: null }, entries), [": The field must have at least 1 entry, not 0"]);
  });

  test("metadata of the wrong types", () => {
    const faultsOf = (metadata: unknown) =>
      new Schemas().faultsOf({ apiVersion: `${group}/v1`, kind: "VirtualService", metadata });
    const messages = (metadata: unknown) =>
      faultsOf(metadata).flatMap(({ at, message }) => (at.length > 0 ? `${at.join(".")}: ${message}` : []));
    assert.deepEqual(messages([]), ["metadata: The field must be an object, not a list"]);
    assert.deepEqual(messages({ name: true, namespace: 1, labels: [], annotations: { a: 1, b: null } }), [
      "metadata.name: The field must be a string, not true",
      "metadata.namespace: The field must be a string, not 1",
      "metadata.labels: The field must be a map, not a list",
      "metadata.annotations.a: The field must be a string, not 1",
    ]);
  });

  test("null is absent, unless the field is nullable", () => {
    const schema = { type: "object", required: ["a"], properties: { a: text, b: text } };
    assert.deepEqual(said({ a: "", b: null, c: null }, schema), []);
    assert.deepEqual(said({ a: null }, schema), [': The required field "a" is missing']);
    assert.deepEqual(said([null], { type: "array", items: { ...text, nullable: true } }), []);
  });
});

test("everything that the built-in definitions ask for is checked", () => {
  assert.deepEqual(
    publishedKinds.flatMap((one) => unsupportedIn(one) ?? []),
    [],
  );
});

describe("validation rules", () => {
  const of = (rule: string, schema: object) => ({ ...schema, "x-kubernetes-validations": [{ rule }] });
  const names = {
    type: "object",
    properties: { namespace: { type: "string" }, "a-b": { type: "integer", default: 3 } },
  };
  for (const [rule, schema, right, wrong] of [
    ["self > 1", { type: "integer" }, 2, 1],
    ["self > 1.0", { type: "number" }, 2, 1],
    ["self.size() == 1", { type: "array", items: { type: "string" } }, ["a"], []],
    [
      "self.all(key, self[key].startsWith('a'))",
      { type: "object", additionalProperties: { type: "string" } },
      { "x-y": "a" },
      { x: "b" },
    ],
    ["self.__namespace__ == 'a'", names, { namespace: "a" }, { namespace: "b" }],
    ["self.a__dash__b == 3", names, {}, { "a-b": 4 }],
    ["url(self).getScheme() in ['http', 'https']", { type: "string" }, "https://a/b", "ftp://a"],
    ["url(self).getHost() == 'a:80'", { type: "string" }, "http://u@a:80/b?c", "http://b/a:80"],
    ["duration(self) >= duration('1ms')", { type: "string" }, "1m10s", "10 seconds"],
    ["int(self) < 9", { type: "string" }, "8", "eight"],
    ["url(self).getEscapedPath() != ''", { type: "string" }, "https://a/b", "a b"],
    ["self.a == 'b'", { type: "object", properties: { a: { type: "string" } } }, { a: "b" }, {}],
    ["isURL(self)", { type: "string" }, "/a", "a b"],
    ["isIP(self)", { type: "string" }, "::1", "1.2.3"],
    ["self.matches('^a+$')", { type: "string" }, "aa", "ab"],
    ["!format.dns1123Subdomain().validate(self).hasValue()", { type: "string" }, "a-b.example.com", "a..b"],
    ["!format.dns1123LabelPrefix().validate(self).hasValue()", { type: "string" }, "a-", "a."],
    ["!format.dns1035Label().validate(self).hasValue()", { type: "string" }, "a1", "1a"],
    ["!format.qualifiedName().validate(self).hasValue()", { type: "string" }, "example.com/A_b", "a/b/c"],
    ["!format.labelValue().validate(self).hasValue()", { type: "string" }, "", "a/b"],
    ["format.uuid().validate(self).hasValue()", { type: "string" }, "a", "0f8fad5b-d9cb-469f-a165-70867728950e"],
    ["!format.uri().validate(self).hasValue()", { type: "string" }, "http://a.example/b", "a b"],
    ["isURL(self)", { type: "string" }, "mailto:", "https://a[::1]"],
    ["isURL(self)", { type: "string" }, "/a b", "http://[a]"],
    ["isURL(self)", { type: "string" }, "//a:b:c", "http://a:80:80"],
    ["url(self).getEscapedPath() == ''", { type: "string" }, "mailto:a@b", "http://a/b"],
    ["!format.dns1123LabelPrefix().validate(self).hasValue()", { type: "string" }, "a--", "é-"],
    ["!format.byte().validate(self).hasValue()", { type: "string" }, "aGVsbG8=", ""],
    ["!format.date().validate(self).hasValue()", { type: "string" }, "2024-02-29", "2023-02-29"],
    ["!format.date().validate(self).hasValue()", { type: "string" }, "0000-01-01", "2023-1-09"],
    ["!format.datetime().validate(self).hasValue()", { type: "string" }, "2021-01-01t00:00:00.5+01:00", "2021-01-01"],
    [
      "!format.datetime().validate(self).hasValue()",
      { type: "string" },
      "2021-01-01T23:59:59Z",
      "2021-01-01T24:00:00Z",
    ],
    ["!format.named('date').value().validate(self).hasValue()", { type: "string" }, "2021-01-01", "soon"],
    ["format.named(self).hasValue()", { type: "string" }, "labelValue", "nope"],
    [
      "format.uuid().validate(self).value().size() == 1",
      { type: "string" },
      "a",
      "0f8fad5b-d9cb-469f-a165-70867728950e",
    ],
  ] as const)
    test(rule, () => {
      assert.deepEqual(said(right, of(rule, schema)), []);
      assert.match(said(wrong, of(rule, schema)).join(), /does not allow this: it does not fulfil /);
    });

  test("a rule that would cost too much is not evaluated", () => {
    const many = Array.from({ length: 2000 }, (_, i) => i);
    const numbers = { type: "array", items: { type: "integer" } };
    assert.deepEqual(said(many, of("!self.all(a, self.all(b, self.all(c, true)))", numbers)), []);
    assert.deepEqual(said(many, of("!self.all(a, self.exists(b, a == b)) || false", numbers)), []);
  });

  test("what counts is the cost of the evaluation, not the number of macros", () => {
    const many = Array.from({ length: 2000 }, (_, i) => i);
    const rule = "self.all(a, self.all(b, self.all(c, false)))";
    assert.equal(said(many, of(rule, { type: "array", items: { type: "integer" } })).length, 1);
  });
});

describe("any input", () => {
  const keywords = [
    ...["type", "properties", "additionalProperties", "items", "required", "enum", "oneOf", "anyOf", "allOf", "not"],
    ...["pattern", "minLength", "maximum", "minItems", "nullable", "x-kubernetes-validations", "format", "default"],
  ];
  const schemaLike = fc.letrec<{ schema: unknown; value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom<unknown[]>("string", "object", "array", "integer", "^(a|a)*$", "(", 1, -1, null, true, ["a"]),
      tie("schema"),
      fc.array(tie("schema"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom("a", "b", "__proto__"), tie("schema"), { maxKeys: 3 }),
      fc.constant([{ rule: "self.all(x, x == 1)" }, { rule: "self" }, { rule: "1 / 0 == 1" }]),
    ),
    schema: fc.dictionary(fc.constantFrom(...keywords), tie("value"), { maxKeys: 4 }),
  })).schema;

  test("never fails, whatever definition and object", () => {
    let usable = 0;
    fc.assert(
      fc.property(schemaLike, fc.jsonValue(), (schema, spec) => {
        const definition = definitionOf({ type: "object", properties: { spec: schema } });
        if (typeof definition !== "object") return;
        usable++;
        const raw = { apiVersion: `${group}/v1`, kind: "Sample", metadata: { name: "a" }, spec };
        new Schemas([definition], brokenRules).faultsOf(raw);
      }),
      { numRuns: 3000, seed: 5 },
    );
    assert.ok(usable > 300, String(usable));
  });

  test("never fails for objects of the built-in kinds", () => {
    const schemas = new Schemas();
    const kinds = fc.constantFrom(
      ["networking.istio.io/v1", "VirtualService"],
      ["security.istio.io/v1", "AuthorizationPolicy"],
      ["gateway.networking.k8s.io/v1", "HTTPRoute"],
      ["networking.istio.io", ""],
    );
    fc.assert(
      fc.property(kinds, fc.jsonValue(), fc.jsonValue(), ([apiVersion, kind], metadata, spec) => {
        for (const { message } of schemas.faultsOf({ apiVersion, kind, metadata, spec }))
          assert.doesNotMatch(message, /\n|undefined/);
      }),
      { numRuns: 2000, seed: 5 },
    );
  });

  test("a schema and a value that are nested too deeply are left out", () => {
    const nested = (depth: number, wrap: (inner: object) => object) => {
      let value: object = {};
      for (let i = 0; i < depth; i++) value = wrap(value);
      return value;
    };
    const deep = definitionOf(nested(20_000, (items) => ({ items })));
    assert.match(JSON.stringify(deep), /is not a structural schema/);
    const list = nested(20_000, (inner) => [inner]);
    assert.doesNotThrow(() =>
      new Schemas().faultsOf({
        apiVersion: `${group}/v1`,
        kind: "VirtualService",
        metadata: { name: "a" },
        spec: { hosts: list },
      }),
    );
  });

  test("of a million mistakes, twenty are said", () => {
    const spec = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`field${i}`, 1]));
    const raw = { apiVersion: `${group}/v1`, kind: "VirtualService", metadata: { name: "a" }, spec };
    assert.equal(new Schemas().faultsOf(raw).length, 20);
  });

  test("a definition is recognized by what it is", () => {
    for (const value of [undefined, null, [], "", { kind: "CustomResourceDefinition" }])
      assert.equal(isDefinition(value) && isObject(value), false);
  });
});
