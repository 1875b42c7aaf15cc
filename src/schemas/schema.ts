import { isObject } from "../kube/read.ts";

/**
 * The part of a structural schema that decides what the API server accepts
 * (`apiextensions-apiserver/pkg/apis/apiextensions/types_jsonschema.go`).
 */
export interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly nullable?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly exclusiveMinimum?: boolean;
  readonly exclusiveMaximum?: boolean;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly default?: unknown;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly not?: Schema;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
  readonly "x-kubernetes-list-type"?: string;
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-validations"?: readonly ValidationRule[];
}

/** A rule in CEL that the API server evaluates. */
export interface ValidationRule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
}

const types: ReadonlySet<string> = new Set(["object", "array", "string", "integer", "number", "boolean"]);
const shapes: Readonly<Record<keyof Schema, (value: unknown) => boolean>> = {
  type: (value) => typeof value === "string" && types.has(value),
  properties: isSchemaMap,
  additionalProperties: (value) => typeof value === "boolean" || isSchema(value),
  items: isSchema,
  required: isTextList,
  enum: Array.isArray,
  nullable: isFlag,
  minimum: isNumber,
  maximum: isNumber,
  multipleOf: isNumber,
  exclusiveMinimum: isFlag,
  exclusiveMaximum: isFlag,
  minLength: isNumber,
  maxLength: isNumber,
  minItems: isNumber,
  maxItems: isNumber,
  minProperties: isNumber,
  maxProperties: isNumber,
  pattern: isText,
  format: isText,
  default: () => true,
  oneOf: isSchemaList,
  anyOf: isSchemaList,
  allOf: isSchemaList,
  not: isSchema,
  "x-kubernetes-int-or-string": isFlag,
  "x-kubernetes-preserve-unknown-fields": isFlag,
  "x-kubernetes-embedded-resource": isFlag,
  "x-kubernetes-list-type": isText,
  "x-kubernetes-list-map-keys": isTextList,
  "x-kubernetes-validations": (value) =>
    Array.isArray(value) && value.every((one) => isObject(one) && isText(one["rule"])),
};
const keywords = Object.entries(shapes);

/** All that is read of a schema. */
export const schemaKeywords: ReadonlySet<string> = new Set(Object.keys(shapes));

/** Whether a value has the form of a schema in all that is read of it. Throws a RangeError if it is nested too deeply. */
export function isSchema(value: unknown): value is Schema {
  if (!isObject(value)) return false;
  return keywords.every(([keyword, has]) => !Object.hasOwn(value, keyword) || has(value[keyword]));
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}
function isFlag(value: unknown): boolean {
  return typeof value === "boolean";
}
function isNumber(value: unknown): boolean {
  return typeof value === "number";
}
function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText);
}
function isSchemaList(value: unknown): boolean {
  return Array.isArray(value) && value.every(isSchema);
}
function isSchemaMap(value: unknown): boolean {
  return isObject(value) && Object.values(value).every(isSchema);
}
