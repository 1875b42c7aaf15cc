import { kinds, type Served } from "../kube/kinds.ts";
import { documentKinds, type RuleMetadata } from "../policy/documents.ts";
import { meshwardIntentSchema } from "../policy/intent-schema.ts";
import type { JsonSchema } from "../policy/json-schema.ts";
import { meshwardExceptionSchema, meshwardPolicySchema } from "../policy/schema.ts";
import { structural } from "../policy/structural-schema.ts";
import { installationName, type KubernetesObject } from "./object.ts";

/** The CustomResourceDefinitions of MeshwardPolicy, MeshwardException and MeshwardIntent, each from the one JSON Schema of its kind. */
export const documentDefinitions = (rules: readonly RuleMetadata[]): readonly KubernetesObject[] => [
  definition({
    served: documentKinds.MeshwardPolicy,
    shortNames: ["mwp"],
    schema: meshwardPolicySchema(rules),
    columns: [
      inForce,
      {
        name: "Objects",
        type: "integer",
        jsonPath: ".status.objects",
        description: "The objects of the mesh that spec.match selects.",
      },
    ],
  }),
  definition({
    served: documentKinds.MeshwardException,
    shortNames: ["mwe"],
    schema: meshwardExceptionSchema(rules),
    columns: [
      inForce,
      { name: "Expires", type: "string", jsonPath: ".spec.expiresAt", description: "When it ends." },
      { name: "Findings", type: "integer", jsonPath: ".status.findings", description: "The findings that it accepts." },
      { name: "Owner", type: "string", jsonPath: ".spec.owner", priority: 1, description: "Who is responsible." },
    ],
  }),
  intentDefinition(),
];

function intentDefinition(): KubernetesObject {
  return definition({
    served: kinds.MeshwardIntent.served[0] as Served,
    shortNames: ["mwi"],
    schema: meshwardIntentSchema(),
    status: intentStatus,
    columns: [
      {
        name: "Held",
        type: "string",
        jsonPath: '.status.conditions[?(@.type=="Held")].status',
        description: "Whether the mesh is as the intent expects.",
      },
      {
        name: "Reason",
        type: "string",
        jsonPath: '.status.conditions[?(@.type=="Held")].reason',
        description: "Held, NotHeld, Undecided, Invalid or NotAudited.",
      },
      { name: "Service", type: "string", jsonPath: ".spec.to.service", description: "What the requests are sent to." },
      {
        name: "Host",
        type: "string",
        jsonPath: ".spec.to.host",
        priority: 1,
        description: "The host outside the mesh that the requests are sent to.",
      },
      {
        name: "Workloads",
        type: "string",
        jsonPath: ".spec.to.workloads",
        priority: 1,
        description: "The labels of the pods that the requests are sent to.",
      },
    ],
  });
}

interface Column {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly description: string;
  /** 1: only with `-o wide`. */
  readonly priority?: number;
}

const inForce: Column = {
  name: "In force",
  type: "string",
  jsonPath: '.status.conditions[?(@.type=="InForce")].status',
  description: "Whether the document has an effect.",
};
const age: Column = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "When it was created.",
};

interface Definition {
  readonly served: Served;
  readonly shortNames: readonly string[];
  readonly schema: JsonSchema;
  readonly columns: readonly Column[];
  /** Default: that of policies and exceptions. */
  readonly status?: JsonSchema;
}

function definition({ served, shortNames, schema, columns, status = documentStatus }: Definition): KubernetesObject {
  const { group, kind, plural, namespaced, versions } = served;
  const { description, properties } = schema as { description: string; properties: Record<string, JsonSchema> };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}`, labels: { "app.kubernetes.io/name": installationName } },
    spec: {
      group,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames,
        categories: [installationName],
      },
      scope: namespaced ? "Namespaced" : "Cluster",
      versions: versions.map((name, i) => ({
        name,
        served: true,
        storage: i === 0,
        subresources: { status: {} },
        additionalPrinterColumns: [...columns, age],
        schema: {
          openAPIV3Schema: {
            type: "object",
            description,
            required: ["spec"],
            properties: {
              apiVersion: { type: "string" },
              kind: { type: "string" },
              metadata: { type: "object" },
              spec: structural(properties["spec"] ?? {}),
              status,
            },
          },
        },
      })),
    },
  };
}

const count = (description: string): JsonSchema => ({ type: "integer", format: "int32", description });

/** Written by Meshward. The conditions have the fields of metav1.Condition. */
const statusWith = (
  about: string,
  conditions: string,
  fields: Readonly<Record<string, JsonSchema>> = {},
): JsonSchema => ({
  type: "object",
  description: about,
  properties: {
    observedGeneration: { type: "integer", format: "int64", description: "The generation that the status is about." },
    ...fields,
    conditions: {
      type: "array",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["type"],
      description: conditions,
      items: {
        type: "object",
        required: ["type", "status", "reason", "message", "lastTransitionTime"],
        properties: {
          type: { type: "string", maxLength: 316 },
          status: { type: "string", enum: ["True", "False", "Unknown"] },
          reason: { type: "string", maxLength: 1024 },
          message: { type: "string", maxLength: 32768 },
          lastTransitionTime: { type: "string", format: "date-time" },
          observedGeneration: { type: "integer", format: "int64", minimum: 0 },
        },
      },
    },
  },
});

const documentStatus = statusWith(
  "What Meshward makes of the document.",
  "InForce: the document has an effect. Broken: this generation is invalid and was not taken.",
  {
    objects: count("The objects of the mesh that the conditions of a policy select."),
    findings: count("The findings of the mesh that an exception accepts."),
  },
);

const intentStatus = statusWith(
  "What the last audit found.",
  "Held: everything that the intent expects is so. Its message has a request that shows that it is not, or why it is not known.",
);
