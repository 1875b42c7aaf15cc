import { apiVersion, everyRule, filledParameters, modes, type ParameterValue, type RuleMetadata } from "./documents.ts";

/** A JSON Schema (draft-07), as plain JSON. */
export type JsonSchema = { readonly [keyword: string]: unknown };

/** What the titles of schemas mean to whoever words an error. */
export const titles = { rule: "rule", parameters: "parameters of" } as const;

const globNote = "`*` stands for any characters";
const text = (description: string): JsonSchema => ({ type: "string", pattern: "\\S", description });
const choice = (values: readonly string[], description: string): JsonSchema => ({
  type: "string",
  enum: values,
  description,
});
const list = (items: JsonSchema, description: string): JsonSchema => ({
  type: "array",
  minItems: 1,
  items,
  description,
});
const names = (of: string): JsonSchema =>
  list(text(`A name; ${globNote}.`), `${of}; ${globNote}. One of them is enough.`);
const labels: JsonSchema = {
  type: "object",
  minProperties: 1,
  additionalProperties: { type: "string", description: "The value that the label must have." },
  description: "Labels with their values. All of them must be there.",
};

function record(
  description: string,
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = [],
): JsonSchema {
  return {
    type: "object",
    additionalProperties: false,
    ...(required.length > 0 ? { required } : {}),
    properties,
    description,
  };
}

const objects = record(
  "The objects that a finding is about. Where names and labels are both given, an object must have both.",
  { names: names("Names of objects"), labels },
);

const match = record(
  "Where, for whom and for what the rules and mutations of this document hold. All conditions that are given must hold; users and groups are one condition, one of them is enough. Left out: everywhere.",
  {
    namespaces: record(
      "The namespace of the object that a finding is about; a Namespace is in itself. Where names and labels are both given, a namespace must have both.",
      { names: names("Names of namespaces"), labels },
    ),
    objects,
    operations: list(
      choice(["CREATE", "UPDATE", "DELETE"], "An operation of the request."),
      "The request's operation. Files and what already runs count as created.",
    ),
    users: names("Users that send the request (`system:serviceaccount:<namespace>:<name>` for a service account)"),
    groups: names("Groups of the user that sends the request"),
  },
);

const protectedNamespaces = record(
  "Namespaces in which protection must not get less: those of the names, and those with the labels (either is enough). The lists of all documents add up.",
  { names: names("Names of namespaces"), labels },
);

const reconcilers = record(
  "Writers that apply a set of objects in their own order (GitOps, Helm, progressive delivery). What rests on an object that may come later warns them where it denies people. The lists of all documents add up.",
  {
    users: names("Users, most often service accounts"),
    fieldManagers: names("Field managers of the request"),
    mode: choice(["warn", "deny"], "deny: reconcilers are denied what people are denied. Default: warn."),
  },
);

const breakGlass = record(
  "Who may put the annotation `meshward.io/break-glass: <reason>` on an object, which turns denials into warnings. The lists of all documents add up.",
  { groups: names("Groups of users") },
  ["groups"],
);

const mutations = record("What Meshward adds to objects.", {
  namespaceAmbientEnrollment: record(
    "Puts namespaces into the ambient mesh: adds the label `istio.io/dataplane-mode: ambient`, unless the namespace says otherwise by a label of its own.",
    {
      mode: choice(
        ["off", "create", "reconcile"],
        "create: new namespaces; reconcile: on every update too; off: none. Default: off.",
      ),
      useWaypoint: text("Adds the label `istio.io/use-waypoint` with this value: the name of a waypoint."),
      except: names("Namespaces that are left alone, added to those of the other documents that match"),
    },
  ),
});

function parameterSchema(name: string, summary: string, value: ParameterValue): JsonSchema {
  const described = { description: summary, default: value };
  if (Array.isArray(value)) return { type: "array", items: text(`An entry of ${name}.`), ...described };
  return { type: typeof value, ...described };
}

/** The parameters that a document may set for one rule. */
function parametersOf({ id, parameters }: RuleMetadata): JsonSchema {
  const settable = Object.entries(parameters).filter(([name]) => !filledParameters.has(name));
  const properties = settable.map(([name, { summary, default: value }]) => [
    name,
    parameterSchema(name, summary, value),
  ]);
  return { ...record(`Parameters of ${id}.`, Object.fromEntries(properties)), title: `${titles.parameters} ${id}` };
}

function ruleOptions(rules: readonly RuleMetadata[]): JsonSchema {
  const options = record(
    "How one rule counts. What is left out is as another document that matches has it, at last as the rule has it.",
    {
      id: {
        ...choice(
          [...rules.map(({ id }) => id), everyRule],
          `A rule, or "${everyRule}": all that this document does not name.`,
        ),
        title: titles.rule,
      },
      mode: choice(modes, 'What a finding does. In quotes where it is "off".'),
      existing: choice(
        ["warn", "deny"],
        "What a finding does that was there before the change, on the object that is changed. Default: warn.",
      ),
      onError: choice(
        ["deny", "warn"],
        "What an error inside the rule does where a finding would deny. Default: deny.",
      ),
      onUnknown: choice(
        ["warn", "deny"],
        "What a finding does that would deny, where what it rests on is stale or not known. Default: warn.",
      ),
      parameters: { type: "object", description: "Parameters of the rule." },
    },
    ["id"],
  );
  const ofRule = (id: string, parameters: JsonSchema): JsonSchema => ({
    if: { type: "object", required: ["id"], properties: { id: { const: id } } },
    // `then` is the keyword of JSON Schema.
    // oxlint-disable-next-line unicorn/no-thenable
    then: { type: "object", properties: { parameters } },
  });
  const everyParameters = { ...record("None.", {}), title: `${titles.parameters} "${everyRule}"` };
  const parameters = [...rules.map((rule) => ofRule(rule.id, parametersOf(rule))), ofRule(everyRule, everyParameters)];
  return { ...options, allOf: parameters };
}

/** What holds for the whole cluster would mislead beside a match. */
const withoutMatch = ["protectedNamespaces", "reconcilers", "breakGlass"] as const;

function policySpec(rules: readonly RuleMetadata[]): JsonSchema {
  const spec = record("What holds, and where.", {
    rules: list(ruleOptions(rules), "Rules, each once. Rules that no document names count as they come."),
    match,
    protectedNamespaces,
    reconcilers,
    breakGlass,
    mutations,
  });
  return {
    ...spec,
    minProperties: 1,
    if: { type: "object", required: ["match"] },
    // oxlint-disable-next-line unicorn/no-thenable
    then: { type: "object", properties: Object.fromEntries(withoutMatch.map((field) => [field, false])) },
  };
}

function exceptionSpec(rules: readonly RuleMetadata[]): JsonSchema {
  return record(
    "Which findings in this namespace are accepted, until when and why.",
    {
      rules: list(
        {
          ...choice(
            rules.map(({ id }) => id),
            "A rule.",
          ),
          title: titles.rule,
        },
        "Rules whose findings are accepted.",
      ),
      match: record("On which objects. Left out: on all of this namespace.", { objects }),
      reason: text("Why they are accepted, for whoever reads the report."),
      owner: text("Who answers for it: a team, a person, a ticket."),
      expiresAt: {
        type: "string",
        format: "date-time",
        description: "When it ends, in RFC 3339: 2027-01-31T00:00:00Z. From then on it does not count.",
      },
    },
    ["rules", "reason", "owner", "expiresAt"],
  );
}

interface DocumentShape {
  readonly kind: string;
  readonly description: string;
  readonly identity: readonly string[];
  readonly spec: JsonSchema;
}

function document({ kind, description, identity, spec }: DocumentShape): JsonSchema {
  const one = (field: string): JsonSchema => text(`The ${field} of the document.`);
  return record(
    description,
    {
      apiVersion: { const: apiVersion, description: "The version of this format." },
      kind: { const: kind, description: "The kind of document." },
      metadata: {
        type: "object",
        required: identity,
        properties: Object.fromEntries(identity.map((field) => [field, one(field)])),
        description: "As every Kubernetes object has it.",
      },
      spec,
    },
    ["apiVersion", "kind", "metadata", "spec"],
  );
}

const draft = "http://json-schema.org/draft-07/schema#";

export const meshwardPolicySchema = (rules: readonly RuleMetadata[]): JsonSchema => ({
  $schema: draft,
  ...document({
    kind: "MeshwardPolicy",
    description:
      "Which rules count, in which mode, where and for whom; which namespaces are protected; what is added to objects.",
    identity: ["name"],
    spec: policySpec(rules),
  }),
});

export const meshwardExceptionSchema = (rules: readonly RuleMetadata[]): JsonSchema => ({
  $schema: draft,
  ...document({
    kind: "MeshwardException",
    description: "Findings of one namespace that are accepted until a date.",
    identity: ["name", "namespace"],
    spec: exceptionSpec(rules),
  }),
});

/** The schema of a document of either kind, for editors and CI: what `policies/policy.schema.json` holds. */
export function policySchema(rules: readonly RuleMetadata[]): JsonSchema {
  const { $schema, ...policy } = meshwardPolicySchema(rules);
  const { $schema: _, ...exception } = meshwardExceptionSchema(rules);
  return {
    $schema,
    title: "MeshwardPolicy or MeshwardException",
    type: "object",
    required: ["kind"],
    properties: {
      kind: choice(["MeshwardPolicy", "MeshwardException"], "The kind of document."),
    },
    if: { type: "object", properties: { kind: { const: "MeshwardException" } } },
    // oxlint-disable-next-line unicorn/no-thenable
    then: exception,
    else: policy,
  };
}
