import type { ErrorObject } from "ajv";
import { formatPath } from "../kube/field-path.ts";
import { describe, type Path } from "../kube/read.ts";
import { suggestion } from "../text/nearest.ts";
import { titles } from "./schema.ts";

/** What is wrong with a document: one line, and where, for whoever knows the lines. */
export interface SchemaProblem {
  readonly at: Path;
  readonly message: string;
}

/**
 * What ajv says (`verbose`, `allErrors`), as one line for each place: where, what is wrong, what was found, what was
 * probably meant. In the document's order as far as ajv keeps it.
 */
export function schemaProblems(errors: readonly ErrorObject[]): readonly SchemaProblem[] {
  const problems = new Map<string, SchemaProblem>();
  for (const error of errors) {
    // That a branch failed says nothing beside what failed in it.
    if (error.keyword === "if") continue;
    const problem = problemOf(error);
    // A value of the wrong type is mentioned by every keyword that it fails: the first is the type.
    const place = JSON.stringify(problem.at);
    const key = error.keyword === "required" ? `${place} ${String(error.params.missingProperty)}` : place;
    if (!problems.has(key)) problems.set(key, problem);
  }
  return [...problems.values()];
}

function problemOf(error: ErrorObject): SchemaProblem {
  const at = pathOf(error);
  if (error.keyword === "additionalProperties") return unknownField(error, at);
  const where = at.length === 0 ? "the document" : formatPath(at);
  return { at, message: `${where}: ${what(error)}` };
}

/** Where in the document: ajv gives a JSON pointer, which does not say what is an index. */
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
  const others = known.length > 0 ? `there are: ${known.join(", ")}` : "there are none";
  return { at, message: `${formatPath(at)}: there is no such ${kind}${hint === "" ? `; ${others}` : hint}` };
}

const nouns = new Map([
  ["object", "a map"],
  ["array", "a list"],
  ["string", "a text"],
  ["number", "a number"],
  ["boolean", "true or false"],
]);

function what(error: ErrorObject): string {
  return wordings.get(error.keyword)?.(error) ?? `does not fit: ${error.keyword}`;
}

const isEmpty = () => "is empty; leave it out, or say what is in it";

/** One for each keyword of the schemas that can fail. */
const wordings = new Map<string, (error: ErrorObject) => string>([
  ["required", ({ params, parentSchema }) => missing(String(params.missingProperty), parentSchema as Schema)],
  ["type", ({ params, data, parentSchema }) => wrongType(String(params.type), data, parentSchema as Schema)],
  [
    "enum",
    ({ params, data, parentSchema }) => wrongChoice(data, params.allowedValues as string[], parentSchema as Schema),
  ],
  ["const", ({ params, data }) => `expected ${String(params.allowedValue)}, found ${describe(data)}`],
  ["pattern", ({ parentSchema }) => `is empty; ${(parentSchema as Schema).description}`],
  ["format", ({ data }) => `expected a time such as 2027-01-31T00:00:00Z, found ${describe(data)}`],
  ["minItems", isEmpty],
  ["minProperties", isEmpty],
  [
    "false schema",
    () => "holds for the whole cluster, which a match cannot limit; move it to a document without spec.match",
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
  // kubectl reads YAML 1.1, and the API server would refuse what it makes of this.
  if (found === false && schema.enum?.includes("off")) return 'YAML reads off without quotes as false; write "off"';
  const isPlain = typeof found === "boolean" || typeof found === "number";
  const expected = nouns.get(type) ?? type;
  const quotes = type === "string" && isPlain ? `; put it in quotes: "${String(found)}"` : "";
  return `expected ${expected}, found ${found === null ? "nothing" : describe(found)}${quotes}`;
}

function wrongChoice(found: unknown, allowed: readonly string[], { title }: Schema): string {
  const hint = suggestion(String(found), allowed);
  if (title !== titles.rule) return `expected one of ${allowed.join(", ")}, found ${describe(found)}${hint}`;
  return `there is no rule ${describe(found)}${hint === "" ? "; `meshward rules` lists them" : hint}`;
}
