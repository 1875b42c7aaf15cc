import type { ErrorObject } from "ajv";
import { formatPath } from "../kube/field-path.ts";
import { describe, isObject, type Path } from "../kube/read.ts";
import { suggestion } from "../text/nearest.ts";
import { scalarAdvice } from "../kube/yaml-scalars.ts";
import { globs } from "../text/globs.ts";
import { listed } from "../text/phrases.ts";
import { titles } from "./json-schema.ts";

/** An error in a document: a message of one line, and the path in the document. */
export interface SchemaProblem {
  readonly at: Path;
  readonly message: string;
}

/**
 * Turns errors of ajv (options `verbose` and `allErrors`) into one line for each path: where, what is wrong, what was
 * found and what was probably meant. In the order of the document as far as ajv keeps it.
 */
export function schemaProblems(errors: readonly ErrorObject[]): readonly SchemaProblem[] {
  const problems = new Map<string, SchemaProblem>();
  for (const error of errors) {
    // ajv also reports that a branch failed, which adds nothing to the errors inside the branch.
    if (error.keyword === "if") continue;
    const problem = problemOf(error);
    // Every keyword reports a value of the wrong type; the first report is about the type.
    const place = JSON.stringify(problem.at);
    const key = error.keyword === "required" ? `${place} ${String(error.params.missingProperty)}` : place;
    if (!problems.has(key)) problems.set(key, problem);
  }
  return [...problems.values()];
}

/** Problems in the order of the fields of the document; those of one field stay as they are. */
export function inDocumentOrder(raw: unknown, problems: readonly SchemaProblem[]): readonly SchemaProblem[] {
  if (problems.length < 2) return problems;
  const positions = new Map<object, ReadonlyMap<string, number>>();
  const placed = problems.map((problem) => ({ problem, place: placeIn(raw, problem.at, positions) }));
  return placed.sort((a, b) => comparePlaces(a.place, b.place)).map(({ problem }) => problem);
}

/** The position of each step of a path among its neighbours; a field that is missing is at its parent. */
function placeIn(raw: unknown, path: Path, positions: Map<object, ReadonlyMap<string, number>>): readonly number[] {
  const place: number[] = [];
  let value = raw;
  for (const step of path) {
    if (!isObject(value) && !Array.isArray(value)) break;
    const known = positions.get(value) ?? new Map(Object.keys(value).map((key, i) => [key, i]));
    positions.set(value, known);
    const position = known.get(String(step));
    if (position === undefined) break;
    place.push(position);
    value = (value as Readonly<Record<string | number, unknown>>)[step];
  }
  return place;
}

function comparePlaces(some: readonly number[], others: readonly number[]): number {
  const i = some.findIndex((position, at) => position !== others[at]);
  return i === -1 ? some.length - others.length : (some[i] ?? 0) - (others[i] ?? -1);
}

function problemOf(error: ErrorObject): SchemaProblem {
  const at = pathOf(error);
  if (error.keyword === "additionalProperties") return unknownField(error, at);
  const where = at.length === 0 ? "the document" : formatPath(at);
  const field = at.at(-1);
  if (at.at(-2) === "labels" && (field === "matchLabels" || field === "matchExpressions"))
    return { at, message: `${where}: labels are written directly, each with its value; ${selectorAdvice[field]}` };
  return { at, message: `${where}: ${what(error)}` };
}

const selectorAdvice = {
  matchLabels: "remove matchLabels, and keep what is in it",
  matchExpressions: "expressions are not supported",
} as const;

/** The path in the document. ajv gives a JSON pointer, which does not tell indexes from keys. */
function pathOf({ instancePath }: ErrorObject): Path {
  const steps = instancePath.split("/").slice(1);
  return steps.map((step) => {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    return /^\d+$/.test(name) ? Number(name) : name;
  });
}

function unknownField({ params, parentSchema }: ErrorObject, parent: Path): SchemaProblem {
  const name = String(params.additionalProperty);
  const { title, properties } = parentSchema as { title?: string; properties?: object };
  const known = Object.keys(properties ?? {});
  const at = [...parent, name];
  const kind = title?.startsWith(titles.parameters)
    ? `parameter for ${title.slice(titles.parameters.length + 1)}`
    : "field";
  const hint = suggestion(name, known);
  const others = known.length > 0 ? `known are ${known.join(", ")}` : "there are none";
  return { at, message: `${formatPath(at)}: there is no such ${kind}${hint === "" ? `; ${others}` : hint}` };
}

const nouns = new Map([
  ["object", "a map"],
  ["array", "a list"],
  ["integer", "a whole number"],
  ["string", "a string"],
  ["number", "a number"],
  ["boolean", "true or false"],
]);

function what(error: ErrorObject): string {
  return wordings.get(error.keyword)?.(error) ?? `does not match the schema (${error.keyword})`;
}

const isEmpty = () => "is empty; remove it, or add an entry";

/** The wording for each keyword of the schemas that can fail. */
const wordings = new Map<string, (error: ErrorObject) => string>([
  ["required", ({ params, parentSchema }) => missing(String(params.missingProperty), parentSchema as Schema)],
  ["type", ({ params, data, parentSchema }) => wrongType(String(params.type), data, parentSchema as Schema)],
  [
    "enum",
    ({ params, data, parentSchema }) => wrongChoice(data, params.allowedValues as string[], parentSchema as Schema),
  ],
  ["const", ({ params, data }) => `expected ${String(params.allowedValue)}, found ${describe(data)}`],
  ["pattern", ({ data, parentSchema }) => wrongText(data, parentSchema as Schema)],
  [
    "maxLength",
    ({ params, data }) => `expected at most ${String(params.limit)} characters, found ${String(data).length}`,
  ],
  ["minimum", ({ params, data }) => `expected at least ${String(params.limit)}, found ${describe(data)}`],
  ["maximum", ({ params, data }) => `expected at most ${String(params.limit)}, found ${describe(data)}`],
  [
    "maxItems",
    ({ params, data }) => `has ${(data as unknown[]).length} entries; at most ${String(params.limit)} are possible`,
  ],
  ["maxProperties", ({ params }) => `has too many entries; at most ${String(params.limit)} are possible`],
  ["minItems", isEmpty],
  ["minProperties", isEmpty],
  [
    "false schema",
    ({ instancePath }) =>
      instancePath.endsWith("/id")
        ? "either id or tag selects rules; remove one of the two"
        : "applies to the whole cluster, so spec.match cannot limit it; move it to a document without spec.match",
  ],
]);

interface Schema {
  readonly title?: string;
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, { readonly description?: string }>>;
}

function missing(name: string, { properties }: Schema): string {
  const description = properties?.[name]?.description;
  return `${name} is missing${description === undefined ? "" : `; ${description}`}`;
}

function wrongType(type: string, found: unknown, schema: Schema): string {
  // kubectl reads YAML 1.1, in which off is false, and the API server would reject that value.
  if (found === false && schema.enum?.includes("off")) return 'YAML reads off without quotes as false; write "off"';
  if (typeof found === "boolean" && schema.enum !== undefined)
    return `expected one of ${schema.enum.join(", ")}, found ${found}`;
  const expected = listed(
    type.split(",").map((one) => nouns.get(one) ?? one),
    "or",
  );
  const advice = scalarAdvice(expected, describe(found));
  const hint = advice === undefined ? "" : `; ${advice.charAt(0).toLowerCase()}${advice.slice(1)}`;
  return `expected ${expected}, found ${found === null ? "nothing" : describe(found)}${hint}`;
}

/** `found` is not a time when an exception can end. */
export const wrongExpiry = (found: unknown): string =>
  `expected a date such as 2027-01-31, whose end in UTC counts, or a time with a zone such as 2027-01-31T18:00:00Z, found ${describe(found)}`;

function wrongText(found: unknown, { description, title }: Schema): string {
  if (title === titles.expiry) return wrongExpiry(found);
  const isEmpty = typeof found === "string" && found.trim() === "";
  return isEmpty ? `is empty; ${description}` : `found ${describe(found)}; ${description}`;
}

function wrongChoice(found: unknown, allowed: readonly string[], { title }: Schema): string {
  // A map may have a field toString, which then is no function.
  const hint = typeof found === "string" ? suggestion(found, allowed) : "";
  if (title === titles.tag)
    return `there is no tag ${describe(found)}${hint === "" ? `; the tags are ${allowed.join(", ")}` : hint}`;
  if (title === titles.kind) return `no rule reads objects of kind ${describe(found)}${hint}`;
  if (title === titles.caller)
    return `expected ${allowed.join(", ")}, or a name such as serviceaccount/shop/cart, namespace/shop or deployment/shop/cart, found ${describe(found)}${hint}`;
  if (title !== titles.rule) return `expected one of ${allowed.join(", ")}, found ${describe(found)}${hint}`;
  if (typeof found === "string" && found.includes("*")) return globOfRules(found, allowed);
  return `there is no rule ${describe(found)}${hint === "" ? "; `meshward rules` lists them" : hint}`;
}

/** An exception names rules one by one, so that a new rule is never accepted before anybody has seen what it finds. */
function globOfRules(glob: string, ids: readonly string[]): string {
  const { matches } = globs([glob]);
  const selected = ids.filter(matches);
  const isSome = selected.length > 0 && selected.length <= mostRulesShown;
  const which = isSome ? `name ${listed(selected, "or")}` : "`meshward rules` lists them";
  return `${describe(glob)} is no id: an exception names each of its rules, without *; ${which}`;
}
const mostRulesShown = 8;
