import { checkExpression } from "../cel/check.ts";
import { types } from "../cel/expression-types.ts";
import { CelLanguage, parseExpression } from "../cel/program.ts";
import { counted, listed } from "../text/phrases.ts";
import { printableLine } from "../text/printable.ts";
import type { KindDefinition } from "./definitions.ts";
import { patternProblem } from "./pattern.ts";
import type { Schema, ValidationRule } from "./schema.ts";
import { uncheckedFormats } from "./values.ts";

// This module is imported only where definitions are given, because the built-in ones are supported as a whole.

/** So many places are named; one mistake often stands in each version and in each part of a kind. */
const mostNamed = 3;

/**
 * What the API server checks in objects of a kind and Meshward does not, because its definition has a pattern or a rule that cannot
 * be read here, or asks for something else that is not known: one sentence. Undefined if there is nothing.
 */
export function unsupportedIn({ kind, versions }: KindDefinition): string | undefined {
  const places = new Set<string>();
  for (const [version, schemaOf] of versions) {
    const schema = schemaOf();
    if (schema === undefined) places.add(`version ${version} has no schema`);
    else collect(schema, places);
  }
  if (places.size === 0) return undefined;
  const [named, more] = [[...places].slice(0, mostNamed), places.size - mostNamed];
  const all = listed([...named, ...(more > 0 ? [counted(more, "other", "others")] : [])], "and");
  return `the definition of ${kind} asks for what is not checked here: ${all}; everything else is checked. Only kubectl apply --dry-run=server finds what breaks it`;
}

/** Schemas of `--crds` may be nested as deeply as whoever wrote them wanted, so this does not recurse. */
function collect(root: Schema, into: Set<string>): void {
  const open: (readonly [at: string, schema: Schema])[] = [["", root]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [at, schema] = next;
    for (const problem of problemsOf(schema)) into.add(`${at === "" ? "the whole object" : at.slice(1)}, ${problem}`);
    open.push(...innerOf(schema).map(([step, inner]) => [`${at}${step}`, inner] as const));
  }
}

function innerOf({ properties = {}, items, additionalProperties, ...choices }: Schema): readonly [string, Schema][] {
  const { oneOf = [], anyOf = [], allOf = [], not } = choices;
  const inner: (readonly [string, Schema | boolean | undefined])[] = [
    ...Object.entries(properties).map(([name, one]) => [`.${name}`, one] as const),
    ["[]", items],
    ["[*]", additionalProperties],
    ...[...oneOf, ...anyOf, ...allOf, not].map((one) => ["", one] as const),
  ];
  return inner.filter((one): one is [string, Schema] => typeof one[1] === "object").reverse();
}

function* problemsOf(schema: Schema): Generator<string> {
  const { pattern, format, multipleOf } = schema;
  const wrong = pattern === undefined ? undefined : patternProblem(pattern);
  if (wrong !== undefined) yield `the pattern ${shortened(pattern ?? "")} (${wrong})`;
  if (format !== undefined && uncheckedFormats.has(format)) yield `the format ${format}`;
  if (multipleOf !== undefined) yield `multipleOf ${multipleOf}`;
  for (const rule of schema["x-kubernetes-validations"] ?? []) {
    const problem = ruleProblem(rule);
    if (problem !== undefined) yield `the rule ${shortened(rule.rule)} (${problem})`;
  }
}

const shortened = (text: string): string => JSON.stringify(printableLine(text, 80));

const language = new CelLanguage();
const known = new Map<string, string | undefined>();

function ruleProblem({ rule }: ValidationRule): string | undefined {
  if (!known.has(rule)) known.set(rule, findProblem(rule));
  return known.get(rule);
}

/** Rules about the change of an object concern none that is created. */
function findProblem(rule: string): string | undefined {
  if (/\boldSelf\b/.test(rule)) return undefined;
  const parsed = parseExpression(rule);
  if ("message" in parsed) return parsed.message;
  const variables = new Map([["self", types.dyn]]);
  const { problems } = checkExpression(parsed, { variables, functions: language.functions });
  return problems[0]?.message;
}
