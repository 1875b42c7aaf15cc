import type { RuleMetadata } from "../policy/documents.ts";
import { intentFields } from "../policy/intent-schema.ts";
import { type JsonSchema, titles } from "../policy/json-schema.ts";

const text = (description: string): JsonSchema => ({ type: "string", pattern: "\\S", description });
const list = (items: JsonSchema, description: string, minItems = 1): JsonSchema => ({
  ...{ type: "array", items, description },
  ...(minItems > 0 ? { minItems } : {}),
});
const record = (
  description: string,
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = [],
): JsonSchema => ({
  ...{ type: "object", additionalProperties: false, properties, description },
  ...(required.length > 0 ? { required } : {}),
});

const relative = "relative to the folder of the test file";
const paths = (what: string): JsonSchema =>
  list(text("The path of a file or folder."), `${what}: files and folders, ${relative}.`);
const time = (what: string): JsonSchema => ({
  type: "string",
  pattern: String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)$`,
  description: `${what}, with a time zone, such as 2027-01-31T00:00:00Z.`,
});

const object: JsonSchema = {
  type: "object",
  required: ["apiVersion", "kind", "metadata"],
  properties: {
    apiVersion: text("The apiVersion of the object."),
    kind: text("The kind of the object."),
    metadata: { type: "object", description: "The name, the namespace and the labels of the object." },
  },
  description: "A Kubernetes object.",
};
const objects = (what: string): JsonSchema => ({
  type: ["string", "object", "array"],
  description: `${what}: the path of a file or folder, ${relative}; an object; or a list of both, in order.`,
  if: { type: "array" },
  // oxlint-disable-next-line unicorn/no-thenable
  then: {
    type: "array",
    minItems: 1,
    items: {
      type: ["string", "object"],
      if: { type: "object" },
      // oxlint-disable-next-line unicorn/no-thenable
      then: object,
      description: "The path of a file or folder, or a Kubernetes object.",
    },
  },
  else: {
    type: ["string", "object"],
    if: { type: "object" },
    // oxlint-disable-next-line unicorn/no-thenable
    then: object,
  },
});

const ruleIds = (rules: readonly RuleMetadata[] | undefined, description: string, minItems: number): JsonSchema =>
  list(
    {
      type: "string",
      // Editors complete the ids of built-in rules, and accept those of rules in policies.
      ...(rules === undefined ? {} : { anyOf: [{ enum: rules.map(({ id }) => id) }, { type: "string" }] }),
      title: titles.rule,
      description: "The id of a rule.",
    },
    description,
    minItems,
  );

/** Requests are stated in the words of a MeshwardIntent: its spec, with its namespace. */
const stated = (when: string): JsonSchema =>
  list(
    record(
      "Requests to one target and what is expected of them: the spec of a MeshwardIntent, with its namespace.",
      {
        namespace: text("The namespace of the target. Needed, unless `to` has `namespaces`."),
        ...intentFields,
      },
      ["to", "requests"],
    ),
    `What becomes of requests ${when}, in the words of a MeshwardIntent.`,
  );

const expectation = (rules: readonly RuleMetadata[] | undefined): JsonSchema => ({
  ...record("The outcome that is expected. What is not stated is not compared.", {
    allowed: { type: "boolean", description: "Whether all requests are allowed." },
    deniedBy: ruleIds(rules, "The rules that deny; exactly these.", 1),
    warnedBy: ruleIds(rules, "The rules that warn; exactly these. An empty list: none.", 0),
    acceptedBy: list(
      text("`namespace/name` of a MeshwardException."),
      "The exceptions that accept findings; exactly these. An empty list: none.",
      0,
    ),
    message: list(text("A part of the text."), "Texts of which each is part of the denial's message or of a warning."),
    patchedTo: {
      type: "object",
      minProperties: 1,
      description: "A part of the object as it would be stored, after Meshward changed it.",
    },
    holds: stated("after the change, or without a change in the mesh as it is"),
    heldBefore: stated("before the change"),
  }),
  minProperties: 1,
});

const testCase = (rules: readonly RuleMetadata[] | undefined): JsonSchema =>
  record(
    "A change and its expected outcome.",
    {
      name: text("What is tested, as a sentence."),
      mesh: paths("Manifests that are in the mesh for this case too"),
      apply: objects("What is applied. An object that the mesh has is updated, and any other one is created"),
      delete: objects("What is deleted, after `apply`"),
      by: record("Who sends the requests. Default: a person without special groups.", {
        user: text("The user, such as `system:serviceaccount:flux-system:kustomize-controller`."),
        groups: list(text("The name of a group."), "The groups of the user, beside `system:authenticated`."),
        fieldManager: text("The field manager of the requests."),
      }),
      time: time("When the requests are sent, which decides which exceptions have expired"),
      dryRun: { type: "boolean", description: "Whether the requests are dry runs." },
      expect: expectation(rules),
    },
    ["name", "expect"],
  );

/**
 * The schema of `meshward-test.yaml`. Without `rules`, every rule id is valid: rules of policies are known only when these
 * are loaded.
 */
export const policyTestSchema = (rules?: readonly RuleMetadata[]): JsonSchema => ({
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "meshward-test.yaml",
  ...record(
    "Tests of policies: changes of a mesh, and what Meshward is expected to decide.",
    {
      name: text("What the file is about. Default: its path."),
      profile: text("The built-in policies: observe, baseline or strict. Default: baseline."),
      policies: paths("MeshwardPolicy, MeshwardException and MeshwardIntent documents"),
      mesh: paths("Manifests that are in the mesh before each case. What they do not contain does not exist"),
      time: time("When the requests of all cases are sent (default: now)"),
      cases: list(testCase(rules), "The cases. Each starts from the same mesh."),
    },
    ["cases"],
  ),
});
