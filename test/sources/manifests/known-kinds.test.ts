import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { mayMatter } from "../../../src/sources/manifests/known-kinds.ts";
import { readDocuments } from "../../../src/sources/manifests/documents.ts";

// What is not parsed must have no object that rules read, however YAML lets it be written.

const rest = "metadata: { name: a }\nspec: { hosts: [a] }\n";
const apiVersion = "apiVersion: networking.istio.io/v1\n";
/** Objects without the group, so that the kind alone decides. */
const ways: readonly (readonly [string, string])[] = [
  ["plain", `kind: Service\n${rest}`],
  ["quoted", `'kind' : "Service"\n${rest}`],
  ["JSON", '{"kind":"Service","metadata":{"name":"a"}}'],
  ["a list", `kind: List\nitems:\n  - kind: Service\n    ${rest.replaceAll("\n", "\n    ")}`],
  ["a list of a kind", `kind: ServiceList\nitems: []\n`],
  ["the next line", `kind:\n  Service\n${rest}`],
  ["the next line but one, after comments", `kind: # one\n  # two\n\n  Service\n${rest}`],
  ["the next line, quoted", `kind:\n  "Service"\n${rest}`],
  ["an anchor", `x: &k Service\nkind: *k\n${rest}`],
  ["an anchor at a key", `x: &k kind\n*k : Service\n${rest}`],
  ["a block", `kind: >-\n  Service\n${rest}`],
  ["a tag", `kind: !!str Service\n${rest}`],
  ["a complex key", `? kind\n: Service\n${rest}`],
  ["flow", `{ kind: Service, metadata: { name: a } }\n`],
  ["an escaped key", `"\\x6bind": Service\n${rest}`],
  ["an escaped value", `kind: "\\u0053ervice"\n${rest}`],
  ["a long escape", `kind: "\\U00000053ervice"\n${rest}`],
  ["a line break in quotes", `kind: "Ser\\\n  vice"\n${rest}`],
  ["the group alone", `${apiVersion}kind: Unknown\n${rest}`],
];

describe("documents that are parsed", () => {
  for (const [title, text] of ways)
    test(title, () => {
      assert.equal(mayMatter(text), true);
      const [document] = readDocuments(text).documents;
      assert.deepEqual(document?.problems, []);
    });

  test("a definition with a conversion webhook", () =>
    assert.equal(mayMatter("kind: CustomResourceDefinition\nspec: { conversion: { strategy: Webhook } }\n"), true));
});

test("definitions of other groups are not parsed: their text has lists, properties named kind, and patterns with escapes", () => {
  const schema = `kind: CustomResourceDefinition
metadata: { name: inferenceservices.serving.example.com }
spec:
  names:
    kind: InferenceService
    listKind: InferenceServiceList
  versions:
    - schema:
        properties:
          kind:
            description: |-
              Kind is a string value representing the REST resource, such as a Service or a Pod.
            type: string
          ref:
            properties:
              kind:
                # The kind of the Service.
                description: Kind of a Service
              "kind":

                type: string
              name:
                pattern: ^[A-Za-z0-9!#$%&'*+\\-.^_\\x60|~]+$
`;
  assert.equal(mayMatter(schema), false);
  assert.equal(mayMatter(schema.replaceAll("\n", "\r\n")), false);
});
