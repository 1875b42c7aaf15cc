import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { yamlOf, yamlText } from "../../src/deploy/yaml.ts";

test("strings that YAML 1.1 reads as something else are quoted, as kubectl and Helm need it", () => {
  const strings = [
    "off",
    "on",
    "yes",
    "No",
    "y",
    "n",
    "0440",
    "0o17",
    "1_000",
    "12:30:00",
    "1e3",
    "~",
    "null",
    "true",
    "",
  ];
  const text = yamlText({ strings });
  for (const version of ["1.1", "1.2"] as const) {
    const [document] = parseAllDocuments(text, { version });
    assert.deepEqual(document?.toJS(), { strings }, version);
  }
});

test("several objects are several documents, without anchors", () => {
  const shared = { app: "meshward" };
  const objects = ["one", "two"].map((name) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, labels: shared },
    spec: { selector: shared },
  }));
  const text = yamlOf(objects);
  assert.doesNotMatch(text, /[&*]a/);
  assert.deepEqual(
    parseAllDocuments(text).map((document) => document.toJS() as unknown),
    objects,
  );
});
