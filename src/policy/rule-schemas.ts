import { customTag, everyRule, filledParameters, modes, type ParameterValue, type RuleMetadata } from "./documents.ts";
import { choice, type JsonSchema, list, record, text, titles } from "./json-schema.ts";

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

/** What an entry for several rules, of which each has parameters of its own, may have as parameters. */
const noParameters = (of: string): JsonSchema => ({ ...record("None.", {}), title: `${titles.parameters} ${of}` });
const ofSeveral = noParameters("several rules");
const ofEvery = noParameters(`"${everyRule}"`);
const severalRules = String.raw`.\*|\*.`;

/** The parameters that an entry with this id may have; undefined for an id that is none of these rules, nor several of them. */
export function parametersFor(id: string, rules: readonly RuleMetadata[]): JsonSchema | undefined {
  if (id === everyRule) return ofEvery;
  if (new RegExp(severalRules, "u").test(id)) return ofSeveral;
  const rule = rules.find((one) => one.id === id);
  return rule === undefined ? undefined : parametersOf(rule);
}

/** {@link parametersFor} every id, as branches of the schema of an entry. */
function parametersForEach(rules: readonly RuleMetadata[]): readonly JsonSchema[] {
  const branch = (id: JsonSchema, parameters: JsonSchema): JsonSchema => ({
    if: { type: "object", required: ["id"], properties: { id: { type: "string", ...id } } },
    // `then` is the keyword of JSON Schema.
    // oxlint-disable-next-line unicorn/no-thenable
    then: { type: "object", properties: { parameters } },
  });
  return [
    ...rules.map((rule) => branch({ const: rule.id }, parametersOf(rule))),
    branch({ const: everyRule }, ofEvery),
    branch({ pattern: severalRules }, ofSeveral),
  ];
}

/** `parameters` are the branches that say which parameters an entry may have. */
export function ruleOptions(
  rules: readonly RuleMetadata[],
  parameters: readonly JsonSchema[] = parametersForEach(rules),
): JsonSchema {
  const tags = [...new Set([...rules.flatMap((rule) => rule.tags ?? []), customTag])].sort();
  const options = record(
    "The settings of one rule, or of several. A field that is not set is taken from the next matching document, and at last from the rule itself.",
    {
      id: {
        type: "string",
        description: `The id of a rule, several rules with \`*\` (\`virtual-service-*\`), or "${everyRule}" for every rule that this document does not name.`,
        anyOf: [
          {
            ...choice(
              rules.map(({ id }) => id),
              "The id of a rule.",
            ),
            title: titles.rule,
          },
          text("Ids of rules, in which `*` stands for any characters.", "\\*"),
          customRuleId,
        ],
      },
      tag: {
        ...choice(tags, `All rules with this tag, instead of an id. \`${customTag}\`: all that policies define.`),
        title: titles.tag,
      },
      mode: choice(
        modes,
        'The effect of a finding: deny the change, warn the user, record it in the audit log and metrics only, or nothing. "off" needs quotes in YAML.',
      ),
      existing: choice(
        ["warn", "deny"],
        "The effect of a finding that existed before the change, on the changed object. Default: warn.",
      ),
      onError: choice(
        ["deny", "warn"],
        "What to do when the rule fails with an error and a finding would be denied. Default: deny.",
      ),
      onUnknown: choice(
        ["warn", "deny"],
        "What to do with a denial when the data behind it is stale or missing. Default: warn.",
      ),
      message: {
        ...text("What the user who is denied or warned should know in addition, in one line."),
        maxLength: 300,
      },
      runbook: {
        ...text("The URL of a page with what to do, which denials, warnings and reports show.", "^https?://\\S+$"),
        maxLength: 300,
      },
      parameters: { type: "object", description: "Parameters of the rule, which its page lists." },
    },
  );
  return {
    ...options,
    allOf: [
      ...parameters,
      {
        if: { type: "object", required: ["tag"] },
        // oxlint-disable-next-line unicorn/no-thenable
        then: { type: "object", properties: { id: false, parameters: ofSeveral } },
        else: {
          type: "object",
          required: ["id"],
          properties: {
            id: {
              type: "string",
              description: `The id of a rule, or "${everyRule}" for every rule that this document does not name.`,
            },
          },
        },
      },
    ],
  };
}

/** The id of a rule that a policy defines: the name of the policy and the id in it. It is known when all documents are read. */
export const customRuleId = text(
  "The id of a rule that a policy defines: the policy's name, a slash, and the rule's id.",
  "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
);

const expression = (description: string): JsonSchema => ({ ...text(description), maxLength: 10_000 });

export const customRules: JsonSchema = {
  ...list(
    record(
      "A rule of one's own: an expression in CEL, the policy language of Kubernetes, that is true for every object that is right.",
      {
        id: {
          type: "string",
          maxLength: 63,
          pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
          description:
            "Lower-case letters, digits and -. Settings and exceptions use the policy's name, a slash and this.",
        },
        kinds: list(
          text("A kind as in manifests."),
          "The kinds of objects that the rule checks, as in manifests: VirtualService, Deployment, Gateway.networking.istio.io.",
        ),
        expression: expression(
          "CEL with the variables object, oldObject, request, namespaceObject and params, and with Meshward's functions mesh.*. It is true for an object that is right.",
        ),
        message: text("What is wrong if the expression is false, in one sentence."),
        messageExpression: expression("CEL that returns the message for one object. If it fails, `message` is used."),
        fix: text("What to do about it, in one sentence."),
        mode: choice(modes, "The mode of the rule where this policy applies. Default: warn."),
        parameters: {
          type: "object",
          minProperties: 1,
          maxProperties: 20,
          description:
            "Values that the expression reads as `params.<name>`, with their defaults. Each is a text, a number, true or false, or a list of texts. Settings of the rule can change them.",
        },
      },
      ["id", "kinds", "expression", "message"],
    ),
    "Rules that this policy defines. They apply where its match applies.",
  ),
  maxItems: 1000,
};
