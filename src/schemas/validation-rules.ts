import { type CelError, type CelInput, celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import { strings } from "@bufbuild/cel/ext";
import { isObject, type Path } from "../kube/read.ts";
import type { Invalid } from "../kube/invalid.ts";
import { printableLine } from "../text/printable.ts";
import { kubernetesFunctions } from "./cel-functions.ts";
import { withDefaults } from "./defaults.ts";
import type { Schema, ValidationRule } from "./schema.ts";
import { isAbsent } from "./values.ts";

// This module is imported only where definitions are given, because CEL takes a tenth of a second to load.

/** The API server bounds the cost of rules; here the number of evaluations and the size of what a rule iterates over are bounded. */
const mostEvaluations = 20_000;
const mostSteps = 1_000_000;

/**
 * The validation rules (`x-kubernetes-validations`) that an object does not fulfil. A rule that cannot be evaluated here (a
 * function that is not known, `oldSelf`, a cost that is too high) counts as fulfilled.
 */
export function brokenRules(raw: Record<string, unknown>, schema: Schema): readonly Invalid[] {
  const rules = new RuleCheck();
  const object = withDefaults(raw, schema) as Record<string, unknown>;
  for (const name of Object.keys(schema.properties ?? {}))
    if (name !== "metadata" && name !== "status") rules.check(object[name], schema.properties?.[name] ?? {}, [name]);
  rules.checkOwn(object, schema, []);
  return rules.faults;
}

class RuleCheck {
  readonly faults: Invalid[] = [];
  #left = mostEvaluations;

  check(value: unknown, schema: Schema, at: Path): void {
    if (isAbsent(value) || this.#left <= 0) return;
    this.checkOwn(value, schema, at);
    if (Array.isArray(value) && schema.items !== undefined) {
      for (const [index, item] of value.entries()) this.check(item, schema.items, [...at, index]);
    } else if (isObject(value)) {
      for (const [name, inner] of fieldsOf(value, schema)) this.check(value[name], inner, [...at, name]);
    }
  }

  checkOwn(value: unknown, schema: Schema, at: Path): void {
    const rules = schema["x-kubernetes-validations"] ?? [];
    if (rules.length === 0) return;
    const self = celValue(value, schema);
    const size = sizeOf(value);
    for (const rule of rules) {
      this.#left--;
      if (this.#left >= 0 && isBroken(rule, self, size)) this.faults.push({ at, message: messageOf(rule) });
    }
  }
}

function messageOf({ rule, message }: ValidationRule): string {
  const said = printableLine(message ?? `it does not fulfil ${rule}`, 300).replace(/\.$/, "");
  return `The definition of the kind does not allow this: ${said}`;
}

const environment = celEnv({ funcs: [...strings, ...kubernetesFunctions] });
type Evaluate = (variables: Record<string, CelInput>) => unknown;
const plans = new Map<string, Evaluate | undefined>();

function isBroken({ rule }: ValidationRule, self: CelInput, size: number): boolean {
  if (!plans.has(rule)) plans.set(rule, planOf(rule));
  const macros = [...rule.matchAll(/\.(?:all|exists|exists_one|filter|map)\(/g)].length;
  if (size ** macros > mostSteps) return false;
  const result = plans.get(rule)?.({ self });
  return isCelError(result) ? !isUnknown(result) : result === false;
}

/** A rule that ends in an error is broken in the API server too, unless the error comes from what is not known here. */
const isUnknown = ({ message }: CelError): boolean => /^(?:unbound function|found no matching overload)/.test(message);

function planOf(rule: string): Evaluate | undefined {
  if (/\boldSelf\b/.test(rule) || rule.length > 10_000) return undefined;
  try {
    return plan(environment, parse(rule));
  } catch {
    return undefined;
  }
}

/** The number of values in a value, up to where it no longer matters. */
function sizeOf(value: unknown): number {
  let size = 0;
  const open: unknown[] = [value];
  while (open.length > 0 && size < mostSteps) {
    const one = open.pop();
    size++;
    const inner: readonly unknown[] = Array.isArray(one) ? one : isObject(one) ? Object.values(one) : [];
    for (const item of inner) open.push(item);
  }
  return size;
}

/** The fields that a schema describes: those that are there. */
function fieldsOf(value: Record<string, unknown>, { properties, additionalProperties }: Schema): [string, Schema][] {
  return Object.keys(value).flatMap((name): [string, Schema][] => {
    const known = properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined;
    const inner = known ?? (typeof additionalProperties === "object" ? additionalProperties : undefined);
    return inner === undefined ? [] : [[name, inner]];
  });
}

/** The value as rules see it: with the types of the schema, without absent fields. */
function celValue(value: unknown, schema: Schema): CelInput {
  if (Array.isArray(value)) return value.map((item) => celValue(item, schema.items ?? {}));
  if (isObject(value)) return celMap(value, schema);
  if (typeof value === "number") return celNumber(value, schema);
  return typeof value === "string" || typeof value === "boolean" ? value : null;
}

const celNumber = (value: number, schema: Schema): CelInput =>
  schema.type === "number" || !Number.isInteger(value) ? value : BigInt(value);

function celMap(value: Record<string, unknown>, schema: Schema): CelInput {
  const described = new Map(fieldsOf(value, schema));
  const keyOf = typeof schema.additionalProperties === "object" ? (name: string) => name : escaped;
  const entries = new Map<string, CelInput>();
  for (const [name, inner] of Object.entries(value))
    if (!isAbsent(inner)) entries.set(keyOf(name), celValue(inner, described.get(name) ?? {}));
  return entries;
}

const reserved = new Set([
  ...[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
  ],
  ...["loop", "package", "namespace", "return", "var", "void", "while"],
]);

/** How rules write the name of a field (`apiserver/pkg/cel/escaping.go`). */
function escaped(name: string): string {
  if (reserved.has(name)) return `__${name}__`;
  return name
    .replaceAll("__", "__underscores__")
    .replaceAll(".", "__dot__")
    .replaceAll("-", "__dash__")
    .replaceAll("/", "__slash__");
}
