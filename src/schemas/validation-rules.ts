import type { CelInput } from "@bufbuild/cel";
import { CostExceeded, metered } from "../cel/cost.ts";
import { CelLanguage, type Expression, parseExpression, type Program } from "../cel/program.ts";
import { isObject, type Path } from "../kube/read.ts";
import type { Invalid } from "../kube/invalid.ts";
import { printableLine } from "../text/printable.ts";
import { escaped } from "./field-names.ts";
import type { Schema, ValidationRule } from "./schema.ts";
import { type Reads, partRead, readsOf } from "./reads-of-rules.ts";
import { isAbsent } from "./values.ts";

// This module is imported only where files are checked, because CEL takes a twentieth of a second to load.

/** The API server bounds the cost of rules; here the number of evaluations and the size of what a rule iterates over are bounded. */
const mostEvaluations = 20_000;
const mostSteps = 100_000;

/**
 * The validation rules (`x-kubernetes-validations`) that an object with the defaults of its schema does not fulfil. A rule that
 * cannot be evaluated here (a function that is not known, `oldSelf`, a cost that is too high) counts as fulfilled.
 */
export function brokenRules(object: Record<string, unknown>, schema: Schema): readonly Invalid[] {
  const rules = new RuleCheck();
  for (const name of Object.keys(schema.properties ?? {}))
    if (name !== "metadata" && name !== "status") rules.check(object[name], schema.properties?.[name] ?? {}, [name]);
  rules.checkOwn(object, schema, []);
  return rules.faults;
}

class RuleCheck {
  readonly faults: Invalid[] = [];
  #left = mostEvaluations;

  check(value: unknown, schema: Schema, at: Path): void {
    if (isAbsent(value) || !hasRules(schema) || this.#left <= 0) return;
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
    this.#left -= rules.length;
    if (this.#left >= 0) this.faults.push(...brokenBy(value, schema, rules).map((message) => ({ at, message })));
  }
}

const withRules = new WeakMap<Schema, boolean>();

/** Whether there are rules in a schema, or in what is inside it. */
function hasRules(schema: Schema): boolean {
  let found = withRules.get(schema);
  if (found === undefined) {
    const { properties = {}, items, additionalProperties } = schema;
    const inner = [...Object.values(properties), items, additionalProperties];
    found =
      (schema["x-kubernetes-validations"] ?? []).length > 0 ||
      inner.some((one) => typeof one === "object" && hasRules(one));
    withRules.set(schema, found);
  }
  return found;
}

/** What the rules of a schema say about values, by the text of what they read of a value. */
interface Results {
  readonly reads: Reads;
  readonly messages: Map<string, readonly string[]>;
}

/** Files repeat most of what rules read, and evaluating a rule takes longer than writing that. */
const results = new WeakMap<Schema, Results>();
const longestKept = 500;
const mostKept = 500;

function brokenBy(value: unknown, schema: Schema, rules: readonly ValidationRule[]): readonly string[] {
  let known = results.get(schema);
  if (known === undefined) results.set(schema, (known = { reads: readsOfRules(rules), messages: new Map() }));
  const text = JSON.stringify(partRead(value, known.reads));
  const found = known.messages.get(text);
  if (found !== undefined) return found;
  const self = celValue(value, schema);
  const messages = rules.filter((rule) => isBroken(rule, self)).map(messageOf);
  if (text.length <= longestKept && known.messages.size < mostKept) known.messages.set(text, messages);
  return messages;
}

function messageOf({ rule, message }: ValidationRule): string {
  const said = printableLine(message ?? `it does not fulfil ${rule}`, 300).replace(/\.$/, "");
  return `The definition of the kind does not allow this: ${said}`;
}

const language = new CelLanguage();
const compiled = new Map<string, CompiledRule | undefined>();

interface CompiledRule {
  readonly root: Expression;
  readonly program: Program;
}

function compiledOf({ rule }: ValidationRule): CompiledRule | undefined {
  if (!compiled.has(rule)) compiled.set(rule, compile(rule));
  return compiled.get(rule);
}

/** A rule that cannot be evaluated reads nothing. */
const readsOfRules = (rules: readonly ValidationRule[]): Reads =>
  readsOf(rules.flatMap((rule) => compiledOf(rule)?.root ?? []));

function isBroken(rule: ValidationRule, self: CelInput): boolean {
  const program = compiledOf(rule)?.program;
  if (program === undefined) return false;
  try {
    return metered(mostSteps, () => program({ self })).value === false;
  } catch (error) {
    return !(error instanceof CostExceeded) && !isUnknown(error);
  }
}

/** A rule that ends in an error is broken in the API server too, unless the error comes from what is not known here. */
const isUnknown = (error: unknown): boolean =>
  error instanceof Error && /^(?:unbound function|found no matching overload)/.test(error.message);

function compile(rule: string): CompiledRule | undefined {
  const parsed = /\boldSelf\b/.test(rule) ? undefined : parseExpression(rule);
  if (parsed === undefined || "message" in parsed) return undefined;
  try {
    return { root: parsed.root, program: language.program(parsed) };
  } catch {
    return undefined;
  }
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
