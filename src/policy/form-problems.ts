import type { Ajv, ErrorObject, ValidateFunction } from "ajv";
import { member } from "../kube/read.ts";
import { documentValidator } from "./document-validator.ts";
import type { DocumentKind, RuleMetadata } from "./documents.ts";
import { meshwardIntentSchema } from "./intent-schema.ts";
import type { JsonSchema } from "./json-schema.ts";
import { parametersFor } from "./rule-schemas.ts";
import { meshwardExceptionSchema, policySchemaWithoutParameters } from "./schema.ts";
import { type SchemaProblem, schemaProblems } from "./schema-problems.ts";

type Kind = DocumentKind | "MeshwardIntent";

/** What is wrong with the form of a document of this kind, by its published schema. */
export function formProblems(kind: Kind, raw: unknown, rules: readonly RuleMetadata[]): readonly SchemaProblem[] {
  const validators = validatorsFor(rules);
  const ofParameters = kind === "MeshwardPolicy" ? parameterErrors(raw, validators) : [];
  const validate = validators.ofKind(kind);
  const errors = validate(raw) ? [] : (validate.errors ?? []);
  return schemaProblems([...ofParameters, ...errors]);
}

/** The errors of the parameters in spec.rules, by the id of each entry. */
function parameterErrors(raw: unknown, { ofParameters }: Validators): readonly ErrorObject[] {
  const entries = member(member(raw, "spec"), "rules");
  return (Array.isArray(entries) ? entries : []).flatMap((entry: unknown, i) => {
    const id = member(entry, "id");
    const parameters = member(entry, "parameters");
    if (typeof id !== "string" || parameters === undefined) return [];
    const validate = ofParameters(id);
    const place = { rootData: raw as object, parentData: entry as object, parentDataProperty: "parameters" };
    const at = { ...place, instancePath: `/spec/rules/${i}/parameters`, dynamicAnchors: {} };
    return validate === undefined || validate(parameters, at) ? [] : (validate.errors ?? []);
  });
}

const compiled = new WeakMap<readonly RuleMetadata[], Validators>();

function validatorsFor(rules: readonly RuleMetadata[]): Validators {
  const known = compiled.get(rules) ?? new Validators(rules);
  compiled.set(rules, known);
  return known;
}

/**
 * Compiled once for each list of rules, and only what documents need, because compiling costs more than validating: the
 * parameters of all rules are four fifths of the schema of a policy, and a policy sets those of a few.
 */
class Validators {
  readonly #rules: readonly RuleMetadata[];
  readonly #ajv: Ajv = documentValidator();
  readonly #ofKind = new Map<Kind, ValidateFunction>();
  readonly #ofParameters = new Map<string, ValidateFunction>();

  constructor(rules: readonly RuleMetadata[]) {
    this.#rules = rules;
  }

  ofKind(kind: Kind): ValidateFunction {
    const validate = this.#ofKind.get(kind) ?? this.#ajv.compile(schemas[kind](this.#rules));
    this.#ofKind.set(kind, validate);
    return validate;
  }

  readonly ofParameters = (id: string): ValidateFunction | undefined => {
    const schema = parametersFor(id, this.#rules);
    return schema === undefined ? undefined : this.#compileParameters(schema);
  };

  /** Globs are endless, and have one schema. */
  #compileParameters(schema: JsonSchema): ValidateFunction {
    const title = String(schema["title"]);
    const validate = this.#ofParameters.get(title) ?? this.#ajv.compile(schema);
    this.#ofParameters.set(title, validate);
    return validate;
  }
}

const schemas = {
  MeshwardPolicy: policySchemaWithoutParameters,
  MeshwardException: meshwardExceptionSchema,
  MeshwardIntent: meshwardIntentSchema,
} satisfies Readonly<Record<Kind, (rules: readonly RuleMetadata[]) => JsonSchema>>;
